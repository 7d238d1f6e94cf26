"""Cases of an existing nnU-Net dataset in a new one: their files get a second name, nothing is rewritten."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_conversion.raw.cases import TRUE_LABELS, CaseReport, CaseSettings, Fate
from dataset_conversion.raw.dataset import RawCase, link_or_copy
from dataset_conversion.raw.images import check_label_values
from dataset_conversion.raw.label_files import LabelFormat, non_finite, read_channels
from noise_synthesis.safe_io.errors import InputError


@dataclass(frozen=True)
class LinkedCase:
    """A case whose images are linked. Its label is linked too, except that an unlabeled case gets an all-ignore one.

    ``labels`` and ``reader`` are how nnU-Net reads the dataset (see ``label_files``).
    """

    case: RawCase
    file_ending: str
    channels: int
    labels: LabelFormat
    reader: type

    @property
    def name(self) -> str:
        """The case's identifier."""
        return self.case.name

    def write(self, fate: Fate, target: Path, settings: CaseSettings) -> CaseReport:
        """Check the case and lay its files out below ``target``.

        An unlabeled case may lack its label file; where it has one, that goes to labelsTr_true.

        Raises:
            InputError: a file is missing or unreadable, or the case is not sound.
        """
        shape = self._check_images()
        has_label = fate != "unlabeled" or self.case.label.is_file()
        if has_label:
            self._check_label(shape, settings.allowed_labels)
        for channel, image in enumerate(self.case.images):
            link_or_copy(image, target / "imagesTr" / f"{self.name}_{channel:04d}{self.file_ending}")
        file_name = self.name + self.file_ending
        if fate in ("clean", "evaluation", "true"):
            link_or_copy(self.case.label, target / "labelsTr" / file_name)
        if fate in ("noisy", "true", "unlabeled") and has_label:
            link_or_copy(self.case.label, target / TRUE_LABELS / file_name)
        if fate == "unlabeled":
            shape, grid = self.labels.grid_of(self.case.images[0])
            self.labels.write(np.full(shape, settings.ignore_label), grid, target / "labelsTr" / file_name)
        return CaseReport(self.name, shape[::-1], (), ())

    def _check_images(self) -> tuple[int, ...]:
        if len(self.case.images) != self.channels:
            raise InputError(
                f"case {self.name}: {len(self.case.images)} images; the dataset has {self.channels} channels, so "
                f"{self.name}_0000{self.file_ending} to _{self.channels - 1:04d} are expected"
            )
        images, _ = read_channels(self.reader, self.case.images)
        spoilt = non_finite(images, self.case.images)
        if spoilt:
            raise InputError(f"case {self.name}: {spoilt[0].name} holds NaN or infinite values; expected finite ones")
        return images.shape[1:]

    def _check_label(self, shape: tuple[int, ...], allowed: tuple[int, ...]) -> None:
        volume, _ = self.labels.read(self.case.label)
        if volume.voxels.shape != shape:
            raise InputError(
                f"case {self.name}: image and label differ in shape: {shape} and {volume.voxels.shape} (z, y, x)"
            )
        check_label_values(volume.voxels, allowed, f"case {self.name}")
