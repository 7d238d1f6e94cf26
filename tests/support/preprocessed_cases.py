"""Preprocessed cases as nnU-Net's own dataset class writes them, small enough for the fast tests."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

SHAPE = (1, 3, 8, 8)


def save_case(folder: Path, case: str, data: np.ndarray, seg: np.ndarray, properties: dict | None = None) -> None:
    """Write image ``(C, Z, Y, X)`` and label ``(1, Z, Y, X)`` of a case."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nnU-Net warns that no chunk size is given
        properties = properties or {"class_locations": {1: []}, "spacing": 1}
        nnUNetDatasetBlosc2.save_case(data, seg, properties, str(folder / case))


def save_two_cases(folder: Path) -> Path:
    """Write the cases ``noisy`` and ``hidden``, filled with 0 and 1; return the folder."""
    for number, case in enumerate(("noisy", "hidden")):
        save_case(folder, case, np.full(SHAPE, number, np.float32), np.full(SHAPE, number, np.int16))
    return folder
