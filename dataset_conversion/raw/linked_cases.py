"""Cases of an existing nnU-Net dataset in a new one: their files get a second name, nothing is rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset_conversion.raw.cases import TRUE_LABELS, CaseReport, CaseSettings, Fate
from dataset_conversion.raw.companions import companions, link_with_companions
from dataset_conversion.raw.dataset import RawCase
from dataset_conversion.raw.formats import DatasetFormat, Reading
from dataset_conversion.raw.images import check_label_values
from noise_synthesis.safe_io.errors import InputError


@dataclass(frozen=True)
class LinkedCase:
    """A case whose images are linked. Its label is linked too, except that an unlabeled case gets an all-ignore one.

    ``further``: more labels of the case, by the folder of the new dataset that they go to.
    """

    case: RawCase
    channels: int
    format: DatasetFormat
    further: Mapping[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The case's identifier."""
        return self.case.name

    def write(self, fate: Fate, target: Path, settings: CaseSettings) -> CaseReport:
        """Check the case and lay its files out below ``target``.

        An unlabeled case may lack its label file; where it has one, that goes to labelsTr_true, unless ``further`` has
        another one for that folder.

        Raises:
            InputError: a file is missing or unreadable, or the case is not sound.
        """
        for path in self.case.images:
            companions(path, self.name, self.format, is_image=True)  # before anything is read with a wrong spacing
        image = self._read_images()
        has_label = fate != "unlabeled" or self.case.label.is_file()
        for path in (*((self.case.label,) if has_label else ()), *self.further.values()):
            self._check_label(path, image, settings.allowed_labels)
        for channel, path in enumerate(self.case.images):
            self._link(path, target / "imagesTr", f"{self.name}_{channel:04d}", is_image=True)
        if fate in ("clean", "evaluation", "true"):
            self._link(self.case.label, target / "labelsTr", self.name)
        true = {TRUE_LABELS: self.case.label} if fate in ("noisy", "true", "unlabeled") and has_label else {}
        for folder, path in {**true, **self.further}.items():
            (target / folder).mkdir(exist_ok=True)
            self._link(path, target / folder, self.name)
        if fate == "unlabeled":
            ignored = np.full(image.shape, settings.ignore_label)
            self.format.write(ignored, image, target / "labelsTr" / (self.name + self.format.ending))
        return CaseReport(self.name, image.shape[::-1], (), ())

    def _link(self, source: Path, folder: Path, name: str, *, is_image: bool = False) -> None:
        link_with_companions(source, folder, name, self.name, self.format, is_image=is_image)

    def _read_images(self) -> Reading:
        image = self.format.channels(self.case.images)
        if len(image.voxels) != self.channels:
            raise InputError(
                f"case {self.name}: {len(image.voxels)} channels in {len(self.case.images)} image files "
                f"({self.case.images[0].name}, ...), expected the {self.channels} that dataset.json names"
            )
        return image

    def _check_label(self, path: Path, image: Reading, allowed: tuple[int, ...]) -> None:
        volume, label = self.format.read(path)
        difference = image.grid.difference(label.grid)
        where = f"case {self.name}" if path == self.case.label else str(path)
        if difference:
            raise InputError(f"{where}: image and label {difference}")
        check_label_values(volume.voxels, allowed, where)
