"""The labels of a raw dataset, read in their own geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch
from torch import Tensor

from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.audit.regions import Geometry
from nnunetv2_mlbseg.training.restored import TrainedFold
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.label_files import FILE_ENDINGS, as_volume, read_label

READERS = ("SimpleITKIO", "NibabelIO")
"""nnU-Net's readers whose arrays have the axes of the file, in SimpleITK's order."""

MOST_CLASSES = 15
"""Background included: what the report's pictures can tell apart."""


@dataclass(frozen=True)
class Label:
    """A label file.

    Attributes:
        image: As read.
        classes: (Z, Y, X) int64; -1 where the file has the ignore label.
    """

    path: Path
    image: sitk.Image
    classes: Tensor

    @property
    def geometry(self) -> Geometry:
        """Of the voxels."""
        return Geometry(self.image.GetSpacing(), self.image.GetOrigin(), self.image.GetDirection())


@dataclass(frozen=True)
class LabelFolder:
    """Label files ``<case><ending>``.

    Args:
        folder: ``labelsTr`` or ``labelsTr_true`` of a raw dataset.
        classes: Number of classes, background included: values 0 to classes - 1.
        ignore: The ignore label, if there is one.
    """

    folder: Path
    ending: str
    classes: int
    ignore: int | None

    def path(self, case: str) -> Path:
        """The file of a case."""
        return self.folder / f"{case}{self.ending}"

    def check(self, cases: Sequence[str], role: str) -> None:
        """Refuse cases without a file before any work is done.

        Raises:
            InputError: it names the cases.
        """
        if self.ending not in FILE_ENDINGS:
            raise InputError(f"{self.folder}: file ending {self.ending}, expected one of {', '.join(FILE_ENDINGS)}")
        missing = [case for case in cases if not self.path(case).is_file()]
        if missing:
            raise InputError(
                f"{self.folder}: no label of {len(missing)} of {len(cases)} {role} cases "
                f"({name_some(missing)}), expected a file NAME{self.ending} for each"
            )

    def read(self, case: str, shape: Sequence[int]) -> Label:
        """Read and check a label.

        Args:
            shape: What the image's shape was when it was preprocessed, (Z, Y, X).

        Raises:
            InputError: unreadable, not three-dimensional, of another shape, or with values dataset.json does not know.
        """
        path = self.path(case)
        image = read_label(path)
        values = as_volume(image, path).voxels
        if image.GetDimension() != 3 or values.shape != tuple(shape):
            raise InputError(f"{path}: shape {values.shape}, expected {tuple(shape)} as its preprocessed image had")
        classes = torch.from_numpy(values.astype("int64"))
        if self.ignore is not None:
            classes[classes == self.ignore] = -1
        strange = sorted(
            set(classes.unique().tolist()) - set(range(-1 if self.ignore is not None else 0, self.classes))
        )
        if strange:
            raise InputError(f"{path}: has the values {strange}, expected only 0 to {self.classes - 1}")
        return Label(path, image, classes)


def labels_of(fold: TrainedFold, raw: Path, name: str) -> LabelFolder:
    """The folder ``name`` of a raw dataset, with the classes of the training.

    Raises:
        InputError: there is none.
    """
    folder = raw / name
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected the label files of the raw dataset")
    labels = fold.labels
    ignore = labels.ignore_label if labels.has_ignore_label else None
    return LabelFolder(folder, fold.dataset_json["file_ending"], len(labels.all_labels), ignore)


def given_labels(fold: TrainedFold, raw: Path) -> LabelFolder:
    """The labels of the fold's noisy cases, all of them there, and of the validation cases.

    Raises:
        InputError: no noisy case, a reader whose axes are unknown, or a label is missing.
    """
    cases, classes = fold.roles.noisy, len(fold.labels.all_labels)
    if classes > MOST_CLASSES:
        raise InputError(f"{raw.name}: {classes} classes, expected at most {MOST_CLASSES}, background included")
    if not cases:
        raise InputError(f"{raw.name}: fold {fold.fold} has no noisy training case, expected labels to audit")
    reader = fold.plans.image_reader_writer_class.__name__
    if reader not in READERS:
        raise InputError(f"{raw.name}: images are read by {reader}, expected {' or '.join(READERS)}")
    folder = labels_of(fold, raw, "labelsTr")
    folder.check(cases, "noisy training")
    folder.check(fold.unseen, "validation")
    return folder


def class_values(labels: Mapping[str, Any]) -> dict[str, Any]:
    """The classes of a dataset.json: its labels without the ignore label."""
    return {name: value for name, value in labels.items() if name != "ignore"}
