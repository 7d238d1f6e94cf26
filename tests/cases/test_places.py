"""Where patches are from: noted by the loader while it draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from preprocessed_cases import save_case

from nnunetv2_mlbseg.cases.loaders import LoaderFactory, PairedLoader
from nnunetv2_mlbseg.cases.places import PlacedLoader, position
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.training.batch import Batch

SLICES = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scans whose slices show their numbers, the second one 10 more."""
    for number, case in enumerate(("a", "b")):
        image = np.arange(SLICES, dtype=np.float32)[None, :, None, None] + 10 * number
        seg = np.zeros((1, SLICES, 8, 8), np.int16)
        save_case(tmp_path, case, np.broadcast_to(image, seg.shape).copy(), seg, {"class_locations": {1: []}})
    return tmp_path


def loader(folder: Path, patch: tuple[int, ...]) -> PlacedLoader:
    labels = LabelManager({"background": 0, "organ": 1}, None)
    factory = LoaderFactory(patch, patch, 12, labels, 0.0, False, None, None, False, Processes())
    return factory.training(nnUNetDatasetBlosc2(str(folder)), 12)


def test_a_slice_of_2d_is_where_its_intensity_says(folder):
    drawn = loader(folder, (8, 8))
    for _ in range(2):
        batch = next(drawn)
        slices = batch["data"][:, 0, 0, 0] % 10
        torch.testing.assert_close(batch["position"], (slices + 0.5) / SLICES)
        of_b = batch["data"][:, 0, 0, 0] >= 10
        assert len(set(batch["scan"][of_b].tolist())) == len(set(batch["scan"][~of_b].tolist())) == 1
        assert batch["scan"].unique().numel() == 2


def test_a_patch_of_3d_is_where_its_middle_is(folder):
    batch = next(loader(folder, (3, 8, 8)))
    middle = batch["data"][:, 0, 1, 0, 0] % 10
    torch.testing.assert_close(batch["position"], (middle + 0.5) / SLICES)


def test_positions_by_hand():
    """Slices 2 and 3 of 8; patches that stick out on either side, or are longer than the scan."""
    assert position(2, 4, 8) == 3 / 8
    assert position(-9, 3, 4) == 0 and position(3, 9, 4) == 1 and position(-2, 6, 4) == 0.5


def test_pairs_and_batches_have_the_places_of_both(folder):
    pair = next(PairedLoader(loader(folder, (8, 8)), loader(folder, (8, 8)), (), lambda case: 0))
    batch = Batch.of(pair, torch.device("cpu"))
    for images in (batch.clean, batch.imperfect):
        torch.testing.assert_close(images.position, (images.images[:, 0, 0, 0] % 10 + 0.5) / SLICES)
        assert images.scan.dtype == torch.int64
