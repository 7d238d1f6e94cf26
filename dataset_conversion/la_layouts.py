"""The two layouts of the 2018 left atrium scans: the challenge's own NRRD folders and UA-MT's h5 folders.

Challenge: ``<set>/<case>/lgemri.nrrd`` and ``laendo.nrrd``, uint8, label {0, 255}. UA-MT (Yu et al. 2019):
``<case>/mri_norm2.h5`` with ``image`` and ``label`` stored (x, y, z), label {0, 1}, no geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import SimpleITK as sitk

from dataset_conversion.raw.cases import CaseSource, LoadedCase
from dataset_conversion.raw.geometry import box_in_plane, image_from_xyz
from dataset_conversion.raw.images import check_label_values, what_is_in
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.reading import read_image

SPACING_MM = (0.625, 0.625, 0.625)
UA_MT_SLICES = 88
# UA-MT widens the heart's box to at least 112 voxels in plane, then by 10 to 19 drawn voxels a side; here it is
# always 15, so that a conversion can be repeated. Like UA-MT it keeps every slice.
CROP_SMALLEST = 112
CROP_MARGIN = 15
H5_FILE, IMAGE_FILE, LABEL_FILE = "mri_norm2.h5", "lgemri.nrrd", "laendo.nrrd"
ACCEPTED = (
    f"accepted layouts: <case>/{H5_FILE} (UA-MT), or <case>/{IMAGE_FILE} with <case>/{LABEL_FILE} (challenge), in the "
    "folder itself or in folders such as 'Training Set' and 'Testing Set' below it"
)


@dataclass(frozen=True)
class LaCases:
    """Cases found in a folder: ``layout`` is "h5" or "nrrd"; ``testing`` are those below a 'Testing Set'."""

    layout: str
    training: tuple[CaseSource, ...]
    testing: tuple[CaseSource, ...]


def find_la_cases(folder: Path, layout: str, spacing_mm: Sequence[float] | None, crop_heart: bool) -> LaCases:
    """Look for LA cases in ``folder`` and one level below. ``layout``: "h5", "nrrd", or "auto" for the one found.

    Raises:
        InputError: no such folder, neither layout in it, both, a case found twice, or an image without label.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    found = {"h5": _case_folders(folder, H5_FILE), "nrrd": _case_folders(folder, IMAGE_FILE)}
    if layout == "auto":
        layouts = [name for name, folders in found.items() if folders]
        if len(layouts) == 2:
            raise InputError(
                f"{folder}: holds both {H5_FILE} and {IMAGE_FILE}; choose with --layout h5 or --layout nrrd"
            )
        layout = layouts[0] if layouts else "h5"
    if not found[layout]:
        raise InputError(f"{folder}: no LA scans found, but {what_is_in(folder)}; {ACCEPTED}")
    if crop_heart and layout == "h5":
        raise InputError("--crop-heart: the UA-MT h5 scans are cropped already; it is for the challenge's NRRD layout")
    training: list[CaseSource] = []
    testing: list[CaseSource] = []
    for case_folder in found[layout]:
        is_test = "testing" in case_folder.parent.name.lower() and case_folder.parent != folder
        source = (
            _h5_case(case_folder, spacing_mm)
            if layout == "h5"
            else _nrrd_case(case_folder, spacing_mm, crop_heart, needs_label=not is_test)
        )
        (testing if is_test else training).append(source)
    _refuse_twice(folder, [case.name for case in (*training, *testing)])
    return LaCases(layout, tuple(training), tuple(testing))


def read_h5(path: Path, spacing_mm: Sequence[float] | None) -> LoadedCase:
    """Read a UA-MT case; index (i, j, k) of the result is ``[i, j, k]`` in the file.

    The file knows no spacing: 0.625 mm, unless ``spacing_mm`` (x, y, z) says otherwise.
    """
    try:
        with h5py.File(path, "r") as file:
            image, label = (np.asarray(file[key][()]) for key in ("image", "label"))
    except KeyError:
        raise InputError(f"{path}: expected the arrays 'image' and 'label' in this file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5 ({str(error).splitlines()[0][:150]})") from None
    if image.ndim != 3 or image.shape != label.shape:
        raise InputError(f"{path}: image and label differ in shape or are not 3D: {image.shape} and {label.shape}")
    check_label_values(label, (0, 1), str(path))
    remarks = []
    if spacing_mm is None and image.shape[2] != UA_MT_SLICES:
        remarks.append(
            f"not {UA_MT_SLICES} slices as UA-MT distributes them, so the scan was resampled; its spacing is not in "
            "the file and taken as 0.625 mm, give the true one with --spacing if it matters"
        )
    spacing = spacing_mm or SPACING_MM
    return LoadedCase([image_from_xyz(image, spacing)], image_from_xyz(label.astype(np.uint8), spacing), remarks)


def read_nrrd(
    image_path: Path, label_path: Path | None, spacing_mm: Sequence[float] | None, crop_heart: bool
) -> LoadedCase:
    """Read a challenge case: label 255 becomes 1, the spacing is set right, origin and direction stay.

    A header spacing of (1, 1, 1) stands for "unknown" in these files and becomes 0.625 mm. Any other is believed, and
    remarked on if it is not 0.625 mm. ``spacing_mm`` (x, y, z) overrides both.
    """
    image = read_image(image_path)
    label = _binary_label(label_path) if label_path is not None else None
    remarks = []
    header = image.GetSpacing()
    if spacing_mm is None and not np.allclose(header, 1) and not np.allclose(header, SPACING_MM, rtol=0.01):
        said = tuple(round(step, 4) for step in header)
        remarks.append(f"the header says spacing {said} mm, which is kept; override it with --spacing")
    spacing = tuple(spacing_mm or (SPACING_MM if np.allclose(header, 1) else header))
    for volume in (image, label):
        if volume is not None:
            volume.SetSpacing(spacing)
    if crop_heart and label is not None and label.GetSize() == image.GetSize():
        box = box_in_plane(label, CROP_MARGIN, CROP_SMALLEST)
        image, label = image[box[0], box[1], :], label[box[0], box[1], :]
    return LoadedCase([image], label, remarks)


def _binary_label(path: Path) -> sitk.Image:
    label = read_image(path)
    array = sitk.GetArrayViewFromImage(label)
    check_label_values(array, (0, 1) if array.max() <= 1 else (0, 255), str(path))
    return label > 0


def _case_folders(folder: Path, file_name: str) -> list[Path]:
    return sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{file_name}"))


def _h5_case(folder: Path, spacing_mm: Sequence[float] | None) -> CaseSource:
    return CaseSource(folder.name, partial(read_h5, folder / H5_FILE, spacing_mm))


def _nrrd_case(folder: Path, spacing_mm: Sequence[float] | None, crop_heart: bool, *, needs_label: bool) -> CaseSource:
    label = folder / LABEL_FILE
    if not label.is_file() and needs_label:
        raise InputError(f"{folder}: {IMAGE_FILE} without {LABEL_FILE}; a training case needs its label")
    label_path = label if label.is_file() else None
    return CaseSource(folder.name, partial(read_nrrd, folder / IMAGE_FILE, label_path, spacing_mm, crop_heart))


def _refuse_twice(folder: Path, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{folder}: the same case in several folders: {', '.join(twice[:5])}")
