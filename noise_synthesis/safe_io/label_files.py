"""Label files: find, read, write, with their geometry and data type unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import SimpleITK as sitk

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_files
from noise_synthesis.safe_io.reading import read_image
from noise_synthesis.safe_io.volumes import LabelVolume
from noise_synthesis.safe_io.whole_files import write_whole

FILE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".png", ".bmp", ".tif", ".tiff")


class LabelFormat(Protocol):
    """Reads a label, and writes a label on the grid of one that was read."""

    def read(self, path: Path) -> tuple[LabelVolume, Any]:
        """Return the label as integers (z, y, x) and its grid, which ``write`` takes."""

    def write(self, voxels: np.ndarray, grid: Any, path: Path) -> None:
        """Write a label (z, y, x) on the grid of another file."""


@dataclass(frozen=True)
class SimpleItkLabels:
    """Any format that SimpleITK reads and writes. The grid is the image that was read."""

    def read(self, path: Path) -> tuple[LabelVolume, sitk.Image]:
        """See ``LabelFormat``; a single slice becomes a volume of one, its third spacing 1 mm."""
        image = read_label(path)
        return as_volume(image, path), image

    def write(self, voxels: np.ndarray, grid: sitk.Image, path: Path) -> None:
        """See ``LabelFormat``; the data type stays as well."""
        write_like(voxels, grid, path)


ITK_LABELS = SimpleItkLabels()


def find_label_files(folder: Path) -> dict[str, Path]:
    """Return the label files of a folder by case name, sorted; hidden files and other formats are left out.

    Raises:
        InputError: no such folder, no label file in it, or two files for one case.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ending = label_ending(path)
        if ending is None or path.name.startswith(".") or not path.is_file():
            continue
        case = path.name[: -len(ending)]
        if case in files:
            raise InputError(f"{folder}: case {case} has two label files, {files[case].name} and {path.name}")
        files[case] = path
    if not files:
        raise InputError(f"{folder}: no label files; expected files ending in {', '.join(FILE_ENDINGS)}")
    return files


def label_ending(path: Path) -> str | None:
    """The ending of a label file as its name has it, ``.nii.gz`` or ``.NII.GZ``; None for another kind of file."""
    found = next((ending for ending in FILE_ENDINGS if path.name.lower().endswith(ending)), None)
    return found and path.name[-len(found) :]


def read_label(path: Path) -> sitk.Image:
    """Read a label file of two or three dimensions with one integer per voxel.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    image = read_image(path)
    if image.GetDimension() not in (2, 3) or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path}: got {image.GetDimension()} dimensions with {image.GetNumberOfComponentsPerPixel()} values per "
            "voxel, expected a label map of 2 or 3 dimensions with one value per voxel"
        )
    return image


def as_volume(image: sitk.Image, path: Path) -> LabelVolume:
    """Return array and spacing of a label image, axes (z, y, x); a 2D image becomes one slice of 1 mm.

    Whole numbers stored as floats become integers.

    Raises:
        InputError: values that are not whole numbers.
    """
    array = as_integers(sitk.GetArrayFromImage(image), path)
    spacing = image.GetSpacing()[::-1]
    if array.ndim == 2:
        return LabelVolume(array[None], (1.0, *spacing))
    return LabelVolume(array, spacing)


def as_integers(array: np.ndarray, path: Path) -> np.ndarray:
    """Return a label as integers.

    Raises:
        InputError: it holds values that are no whole numbers.
    """
    if array.dtype.kind in "iu":
        return array
    if not np.array_equal(array, np.rint(array)):
        raise InputError(f"{path}: got values that are not whole numbers, expected a label map")
    return array.astype(np.int64)


def volume_of(labels: LabelFormat, path: Path) -> LabelVolume:
    """Read a label file as a volume."""
    return labels.read(path)[0]


def write_like(voxels: np.ndarray, like: sitk.Image, path: Path) -> None:
    """Write ``voxels`` (z, y, x) with the data type, the dimensions and the geometry of ``like``, compressed."""
    original = sitk.GetArrayViewFromImage(like)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.reshape(original.shape), dtype=original.dtype))
    image.CopyInformation(like)
    with atomic_files(path) as temporary:
        write_whole(image, temporary)
