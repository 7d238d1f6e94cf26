"""The raw images, as grey pictures for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset_conversion.raw.dataset import RawDataset
from dataset_conversion.raw.formats import DatasetFormat
from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.audit.one_case import CaseAudit
from noise_synthesis.safe_io.errors import InputError


@dataclass(frozen=True)
class Images:
    """An image file of every case of a raw dataset."""

    name: str
    files: Mapping[str, Path]
    format: DatasetFormat

    @classmethod
    def of(cls, dataset: RawDataset, format: DatasetFormat, channel: int = 0) -> Images:
        """Those of a dataset with a channel, as nnU-Net counts the files of a case.

        Raises:
            InputError: a case has no such file.
        """
        name, fewest = dataset.folder.name, min(len(case.images) for case in dataset.cases)
        if not 0 <= channel < fewest:
            raise InputError(f"{name}: channel {channel} of {fewest}, expected 0 to {fewest - 1}")
        return cls(name, {case.name: case.images[channel] for case in dataset.cases}, format)

    def check(self, cases: Sequence[str]) -> None:
        """Refuse cases without an image before any work is done.

        Raises:
            InputError: it names the cases.
        """
        missing = [case for case in cases if case not in self.files or not self.files[case].is_file()]
        if missing:
            raise InputError(f"{self.name}: no image of {len(missing)} noisy cases ({name_some(missing)}) in imagesTr")

    def read(self, audited: CaseAudit) -> NDArray[np.float32]:
        """Read the image of an audited case, (Z, Y, X): of a colour picture the mean of its colours.

        Raises:
            InputError: it cannot be read, or does not lie on the voxels of the label.
        """
        path = self.files[audited.case]
        image = self.format.channels([path])
        difference = image.grid.difference(audited.label.reading.grid)
        if difference:
            raise InputError(f"{path}: does not fit its label {audited.label.path}: they {difference}")
        grey: NDArray[np.float32] = image.voxels.mean(axis=0)
        return grey
