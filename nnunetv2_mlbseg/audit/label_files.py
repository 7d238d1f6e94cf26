"""The labels of a raw dataset, read in their own geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dataset_conversion.raw.dataset import RawDataset
from dataset_conversion.raw.formats import DatasetFormat, Reading
from dataset_conversion.raw.geometry import Grid
from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.training.restored import TrainedFold
from noise_synthesis.safe_io.errors import InputError

MOST_CLASSES = 15
"""Background included: what the report's pictures can tell apart."""


@dataclass(frozen=True)
class Label:
    """A label file.

    Attributes:
        reading: As nnU-Net reads it.
        classes: (Z, Y, X) int64; -1 where the file has the ignore label.
    """

    path: Path
    reading: Reading
    classes: Tensor

    @property
    def grid(self) -> Grid:
        """Of the voxels, with three axes."""
        return self.reading.grid.as_volume()


@dataclass(frozen=True)
class LabelFolder:
    """Label files ``<case><ending>``.

    Args:
        folder: ``labelsTr`` or ``labelsTr_true`` of a raw dataset.
        format: How they are read and written.
        classes: Number of classes, background included: values 0 to classes - 1.
        ignore: The ignore label, if there is one.
        elsewhere: Files of cases that dataset.json lists one by one.
    """

    folder: Path
    format: DatasetFormat
    classes: int
    ignore: int | None
    elsewhere: Mapping[str, Path] = field(default_factory=dict)

    def path(self, case: str) -> Path:
        """The file of a case."""
        return self.elsewhere.get(case, self.folder / f"{case}{self.format.ending}")

    def check(self, cases: Sequence[str], role: str) -> None:
        """Refuse cases without a file before any work is done.

        Raises:
            InputError: it names the cases.
        """
        missing = [case for case in cases if not self.path(case).is_file()]
        if missing:
            raise InputError(
                f"{self.folder}: no label of {len(missing)} of {len(cases)} {role} cases "
                f"({name_some(missing)}), expected a file NAME{self.format.ending} for each"
            )

    def read(self, case: str, shape: Sequence[int]) -> Label:
        """Read and check a label.

        Args:
            shape: What the image's shape was when it was preprocessed, (Z, Y, X).

        Raises:
            InputError: unreadable, of another shape, or with values dataset.json does not know.
        """
        path = self.path(case)
        volume, reading = self.format.read(path)
        if volume.voxels.shape != tuple(shape):
            raise InputError(
                f"{path}: shape {volume.voxels.shape}, expected {tuple(shape)} as its preprocessed image had; if the "
                f"files of the case have changed, run nnUNetv2_preprocess again"
            )
        classes = torch.from_numpy(volume.voxels.astype("int64"))
        if self.ignore is not None:
            classes[classes == self.ignore] = -1
        strange = sorted(
            set(classes.unique().tolist()) - set(range(-1 if self.ignore is not None else 0, self.classes))
        )
        if strange:
            raise InputError(f"{path}: has the values {strange}, expected only 0 to {self.classes - 1}")
        return Label(path, reading, classes)


def labels_of(fold: TrainedFold, raw: Path, name: str, elsewhere: Mapping[str, Path] | None = None) -> LabelFolder:
    """The folder ``name`` of a raw dataset, with the classes of the training.

    Raises:
        InputError: there is none.
    """
    folder = raw / name
    if not folder.is_dir() and not elsewhere:
        raise InputError(f"{folder}: no such folder, expected the label files of the raw dataset")
    labels = fold.labels
    ignore = labels.ignore_label if labels.has_ignore_label else None
    return LabelFolder(folder, format_of(fold), len(labels.all_labels), ignore, elsewhere or {})


def format_of(fold: TrainedFold) -> DatasetFormat:
    """How the files of a fold's dataset were read when it was preprocessed."""
    return DatasetFormat(fold.plans.image_reader_writer_class, fold.dataset_json["file_ending"])


def given_labels(fold: TrainedFold, dataset: RawDataset) -> LabelFolder:
    """The labels of the fold's noisy cases, all of them there, and of the validation cases.

    Raises:
        InputError: no noisy case, too many classes, or a label is missing.
    """
    cases, classes = fold.roles.noisy, len(fold.labels.all_labels)
    name = dataset.folder.name
    if classes > MOST_CLASSES:
        raise InputError(
            f"{name}: {classes} classes, expected at most {MOST_CLASSES} for an audit, background included; train with "
            f"the setting audit at false"
        )
    if not cases:
        raise InputError(f"{name}: fold {fold.fold} has no noisy training case, expected labels to audit")
    listed = {case.name: case.label for case in dataset.cases} if "dataset" in dataset.description else None
    folder = labels_of(fold, dataset.folder, "labelsTr", listed)
    folder.check(cases, "noisy training")
    folder.check(fold.unseen, "validation")
    return folder


def class_values(labels: Mapping[str, Any]) -> dict[str, Any]:
    """The classes of a dataset.json: its labels without the ignore label."""
    return {name: value for name, value in labels.items() if name != "ignore"}
