"""Any nnU-Net raw dataset with clean labels to one with simulated imperfect supervision."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_conversion.cases import TRUE_LABELS, CaseReport, CaseSettings, Fate
from dataset_conversion.images import check_label_values
from dataset_conversion.label_files import LabelFormat, label_format, nnunet_reader
from dataset_conversion.nnunet_dataset import RawCase, RawDataset, link_or_copy, read_raw_dataset
from dataset_conversion.options import (
    add_simulation_arguments,
    check_arguments,
    draw_roles,
    make_plan,
    run_as_script,
)
from dataset_conversion.raw_dataset import find_dataset
from dataset_conversion.simulation import Source, simulate
from dataset_conversion.supervision_files import SUPERVISION_FOLDER
from noise_synthesis.errors import InputError

DESCRIPTION = (__doc__ or "").strip()


@dataclass(frozen=True)
class LinkedCase:
    """A case whose images stay as they are: linked, not rewritten. Its labels are written in their own format."""

    case: RawCase
    dataset_file_ending: str
    channels: int
    labels: LabelFormat
    reader: type

    @property
    def name(self) -> str:
        """The case's identifier."""
        return self.case.name

    def write(self, fate: Fate, target: Path, settings: CaseSettings) -> CaseReport:
        """Check the case and lay its files out below ``target``.

        Raises:
            InputError: a file is missing or unreadable, or the case is not sound.
        """
        volume, grid = self.labels.read(self.case.label)
        check_label_values(volume.voxels, settings.allowed_labels, f"case {self.name}")
        self._check_images(volume.voxels.shape)
        for channel, image in enumerate(self.case.images):
            link_or_copy(image, target / "imagesTr" / f"{self.name}_{channel:04d}{self.dataset_file_ending}")
        file_name = self.name + self.dataset_file_ending
        if fate in ("clean", "evaluation", "true"):
            link_or_copy(self.case.label, target / "labelsTr" / file_name)
        if fate in ("noisy", "true", "unlabeled"):
            link_or_copy(self.case.label, target / TRUE_LABELS / file_name)
        if fate == "unlabeled":
            self.labels.write(
                np.full(volume.voxels.shape, settings.ignore_label), grid, target / "labelsTr" / file_name
            )
        return CaseReport(self.name, volume.voxels.shape[::-1], volume.spacing_mm[::-1], ())

    def _check_images(self, label_shape: tuple[int, ...]) -> None:
        if len(self.case.images) != self.channels:
            raise InputError(
                f"case {self.name}: {len(self.case.images)} images; dataset.json has {self.channels} channels"
            )
        try:
            images, _ = self.reader().read_images([str(path) for path in self.case.images])
        except Exception as error:  # nnU-Net's readers let through whatever their library raises
            raise InputError(f"case {self.name}: image cannot be read ({str(error).splitlines()[-1:]})") from None
        if images.shape[1:] != label_shape:
            raise InputError(
                f"case {self.name}: image and label differ in shape: {images.shape[1:]} and {label_shape} (z, y, x)"
            )
        if not np.isfinite(images).all():
            raise InputError(f"case {self.name}: the image holds NaN or infinite values; expected finite intensities")


def source_of(dataset: RawDataset) -> Source:
    """Describe a raw dataset as a source of cases.

    Raises:
        InputError: its labels are imperfect already.
    """
    if (dataset.folder / SUPERVISION_FOLDER).exists():
        raise InputError(f"{dataset.folder}: has a folder '{SUPERVISION_FOLDER}', so its labels are imperfect already")
    example = dataset.cases[0].images[0]
    labels, reader = label_format(dataset.description, example), nnunet_reader(dataset.description, example)
    kept = {key: value for key, value in dataset.description.items() if key not in _REWRITTEN}
    return Source(
        description={"data_set": "nnU-Net raw dataset", "layout": "nnunet", "folder": dataset.folder.resolve().name},
        cases=tuple(LinkedCase(case, dataset.file_ending, dataset.channels, labels, reader) for case in dataset.cases),
        labels=dataset.labels,
        channel_names=dataset.description["channel_names"],
        file_ending=dataset.file_ending,
        label_format=labels,
        further=kept,
    )


_REWRITTEN = ("channel_names", "labels", "numTraining", "file_ending", "dataset")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``convert nnunet``."""
    parser.add_argument("source", metavar="DATASET", help="raw dataset: its number, name or path; it stays untouched")
    add_simulation_arguments(parser, default_name=None)


def run(args: argparse.Namespace) -> int:
    """Convert; return the exit code."""
    folder = find_dataset(args.source)
    if args.name is None:
        args.name = folder.resolve().name.partition("_")[2] or folder.resolve().name
    check_arguments(args)
    source = source_of(read_raw_dataset(folder))
    simulate(source, make_plan(args, source, draw_roles(args, source.names)))
    return 0


if __name__ == "__main__":
    sys.exit(run_as_script(DESCRIPTION, add_arguments, run))
