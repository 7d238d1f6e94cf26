"""The first channel of the raw images, for the report's pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.audit.one_case import CaseAudit
from noise_synthesis.safe_io.errors import InputError


@dataclass(frozen=True)
class Images:
    """``imagesTr`` of a raw dataset."""

    raw: Path
    ending: str

    def path(self, case: str) -> Path:
        """The file of a case's first channel."""
        return self.raw / "imagesTr" / f"{case}_0000{self.ending}"

    def check(self, cases: Sequence[str]) -> None:
        """Refuse cases without an image before any work is done.

        Raises:
            InputError: it names the cases.
        """
        missing = [case for case in cases if not self.path(case).is_file()]
        if missing:
            raise InputError(f"{self.raw / 'imagesTr'}: no image of {len(missing)} noisy cases ({name_some(missing)})")

    def read(self, audited: CaseAudit) -> NDArray[np.float32]:
        """Read the image of an audited case, (Z, Y, X).

        Raises:
            InputError: it cannot be read, or has another shape than the label.
        """
        path = self.path(audited.case)
        try:
            image = sitk.GetArrayFromImage(sitk.ReadImage(os.fspath(path))).astype(np.float32)
        except RuntimeError:
            raise InputError(f"{path}: cannot be read as an image") from None
        shape = tuple(audited.label.classes.shape)
        if image.shape != shape:
            raise InputError(f"{path}: shape {image.shape}, but its label {audited.label.path} has {shape}")
        return image
