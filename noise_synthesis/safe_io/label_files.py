"""Label files: find, read, write, with their geometry and data type unchanged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from noise_synthesis.safe_io.compressed import is_gzip, refuse_damaged_gzip, write_whole
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_path
from noise_synthesis.safe_io.volumes import LabelVolume

FILE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


def find_label_files(folder: Path) -> dict[str, Path]:
    """Return the label files of a folder by case name, sorted; hidden files and other formats are left out.

    Raises:
        InputError: no such folder, no label file in it, or two files for one case.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = next((e for e in FILE_ENDINGS if path.name.endswith(e)), None)
        if ending is None or path.name.startswith(".") or not path.is_file():
            continue
        case = path.name[: -len(ending)]
        if case in files:
            raise InputError(f"{folder}: case {case} has two label files, {files[case].name} and {path.name}")
        files[case] = path
    if not files:
        raise InputError(f"{folder}: no label files; expected files ending in {', '.join(FILE_ENDINGS)}")
    return files


def read_label(path: Path) -> sitk.Image:
    """Read a label file of two or three dimensions with one integer per voxel.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    refuse_damaged_gzip(path)
    try:
        with _without_warnings():
            image = sitk.ReadImage(os.fspath(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path}: cannot be read as a label file ({reason})") from None
    if image.GetDimension() not in (2, 3) or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path}: got {image.GetDimension()} dimensions with {image.GetNumberOfComponentsPerPixel()} values per "
            "voxel, expected a label map of 2 or 3 dimensions with one value per voxel"
        )
    if image.GetPixelID() in (sitk.sitkFloat32, sitk.sitkFloat64) and hides_non_finite(path):
        raise InputError(f"{path}: holds NaN or infinite values, expected whole numbers")
    return image


def hides_non_finite(path: Path) -> bool:
    """Whether a NIfTI file of floats holds NaN or infinity; SimpleITK's reader silently replaces them by 0."""
    if not path.name.endswith((".nii", ".nii.gz")):
        return False
    import nibabel

    image: Any
    if path.suffix == ".gz" and not is_gzip(path):  # nibabel goes by the name, SimpleITK by the content
        image = nibabel.Nifti1Image.from_bytes(path.read_bytes())
    else:
        image = nibabel.load(path)
    return image.get_data_dtype().kind == "f" and not bool(np.isfinite(np.asanyarray(image.dataobj)).all())


def as_volume(image: sitk.Image, path: Path) -> LabelVolume:
    """Return array and spacing of a label image, axes (z, y, x); a 2D image becomes one slice of 1 mm.

    Whole numbers stored as floats become integers.

    Raises:
        InputError: values that are not whole numbers.
    """
    array = sitk.GetArrayFromImage(image)
    if not np.issubdtype(array.dtype, np.integer):
        if not np.array_equal(array, np.rint(array)):
            raise InputError(f"{path}: got values that are not whole numbers, expected a label map")
        array = array.astype(np.int64)
    spacing = image.GetSpacing()[::-1]
    if array.ndim == 2:
        return LabelVolume(array[None], (1.0, *spacing))
    return LabelVolume(array, spacing)


def read_volume(path: Path) -> LabelVolume:
    """Read a label file as a volume."""
    return as_volume(read_label(path), path)


def write_like(voxels: np.ndarray, like: sitk.Image, path: Path) -> None:
    """Write ``voxels`` (z, y, x) with the data type, the dimensions and the geometry of ``like``, compressed."""
    original = sitk.GetArrayViewFromImage(like)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.reshape(original.shape), dtype=original.dtype))
    image.CopyInformation(like)
    with atomic_path(path) as temporary:
        write_whole(image, temporary)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep the readers' warnings, some per file, off the terminal; errors are raised all the same."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
