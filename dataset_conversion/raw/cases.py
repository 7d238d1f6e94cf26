"""One case: read by its source's reader, checked, brought to size, and written in nnU-Net's layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from dataset_conversion.raw.geometry import Grid, resize_in_plane
from dataset_conversion.raw.images import check_label_values, write_image, write_label
from noise_synthesis.safe_io.errors import InputError

FILE_ENDING = ".nii.gz"
TRUE_LABELS = "labelsTr_true"
FORMER_LABELS = "labelsTr_former"
"""Labels that clean cases had before somebody corrected them."""

# "true" is a noisy case that keeps its true label; "evaluation" has no role and lies in fold 0's "val".
Fate = Literal["clean", "noisy", "true", "unlabeled", "evaluation", "test"]


@dataclass
class LoadedCase:
    """What a reader returns: one image per channel, the label with values as they shall be in the dataset, remarks."""

    images: list[sitk.Image]
    label: sitk.Image | None
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CaseSource:
    """A case that has not been read yet. ``load`` must be picklable: a module's function or a ``partial`` of one."""

    name: str
    load: Callable[[], LoadedCase]

    def write(self, fate: Fate, target: Path, settings: CaseSettings) -> CaseReport:
        """Convert the case; see ``convert_case``."""
        return convert_case(self, fate, target, settings)


@dataclass(frozen=True)
class CaseSettings:
    """How every case of a conversion is written.

    ``size``: in-plane pixels (x, y), or None for native. ``allowed_labels``: values a label may have.
    ``ignore_label``: the value that fills the label of an unlabeled case. ``nominal_spacing``: write spacing 1.
    """

    size: tuple[int, int] | None
    allowed_labels: tuple[int, ...]
    ignore_label: int
    nominal_spacing: bool = False


@dataclass(frozen=True)
class CaseReport:
    """What is worth telling of a converted case: size in voxels, true spacing in mm (x, y, z), the reader's remarks."""

    name: str
    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    remarks: tuple[str, ...]


def convert_case(source: CaseSource, fate: Fate, target: Path, settings: CaseSettings) -> CaseReport:
    """Read, check, resize and write one case below ``target``, the folder of the raw dataset.

    Raises:
        InputError: the case cannot be read or is not sound; the line names it.
    """
    case = source.load()
    _check(source.name, case, settings.allowed_labels)
    if settings.size is not None:
        case.images = [resize_in_plane(image, settings.size, is_label=False) for image in case.images]
        case.label = case.label and resize_in_plane(case.label, settings.size, is_label=True)
    size, spacing_mm = case.images[0].GetSize(), case.images[0].GetSpacing()
    if settings.nominal_spacing:
        for image in (*case.images, *([case.label] if case.label is not None else [])):
            image.SetSpacing([1.0] * image.GetDimension())
    _write_images(source.name, case.images, target / ("imagesTs" if fate == "test" else "imagesTr"))
    if case.label is not None:
        _write_labels(source.name, sitk.Cast(case.label, sitk.sitkUInt8), fate, target, settings.ignore_label)
    return CaseReport(source.name, size, spacing_mm, tuple(case.remarks))


def _check(name: str, case: LoadedCase, allowed: Sequence[int]) -> None:
    for image in case.images:
        pixels = sitk.GetArrayViewFromImage(image)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise InputError(f"case {name}: the image holds NaN or infinite values; expected finite intensities")
    if case.label is None:
        return
    first = case.images[0]
    difference = Grid.of_image(first).difference(Grid.of_image(case.label))
    if difference:
        raise InputError(f"case {name}: image and label {difference}")
    case.label.CopyInformation(first)
    check_label_values(sitk.GetArrayViewFromImage(case.label), allowed, f"case {name}")


def _write_images(name: str, images: Sequence[sitk.Image], folder: Path) -> None:
    for channel, image in enumerate(images):
        write_image(image, folder / f"{name}_{channel:04d}{FILE_ENDING}")


def _write_labels(name: str, label: sitk.Image, fate: Fate, target: Path, ignore_label: int) -> None:
    """Write the true label where this fate has it. The noisy label comes later: its strength depends on all cases."""
    file_name = name + FILE_ENDING
    if fate == "test":
        write_label(label, target / "labelsTs" / file_name)
    elif fate in ("clean", "evaluation"):
        write_label(label, target / "labelsTr" / file_name)
    else:
        write_label(label, target / TRUE_LABELS / file_name)
    if fate == "true":
        shutil.copyfile(target / TRUE_LABELS / file_name, target / "labelsTr" / file_name)
    if fate == "unlabeled":
        ignored = sitk.Image(label.GetSize(), sitk.sitkUInt8) + ignore_label
        ignored.CopyInformation(label)
        write_label(ignored, target / "labelsTr" / file_name)
