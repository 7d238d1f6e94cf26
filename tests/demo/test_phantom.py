"""Synthetic scans: in the layout of the real ones, reproducible, and not solved by brightness alone."""

from __future__ import annotations

from functools import cache

import h5py
import numpy as np
import pytest
from scipy.ndimage import label as components

from nnunetv2_mlbseg.demo.phantom import SHAPE, synthetic_scan, write_scan


@cache
def scan(number: int) -> tuple[np.ndarray, np.ndarray]:
    return synthetic_scan(np.random.default_rng([0, number]))


def test_files_have_the_layout_of_the_distributed_scans(tmp_path):
    write_scan(tmp_path / "case", seed=3, number=1)
    with h5py.File(tmp_path / "case" / "mri_norm2.h5") as file:
        image, label = file["image"][:], file["label"][:]
    assert image.shape == label.shape == SHAPE
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    assert image.mean() == pytest.approx(0, abs=1e-4) and image.std() == pytest.approx(1, abs=1e-4)
    assert set(np.unique(label)) == {0, 1}


def test_a_scan_depends_on_its_seed_and_number_only(tmp_path):
    for name, number in (("a", 5), ("b", 5), ("c", 6)):
        write_scan(tmp_path / name, seed=0, number=number)
    a, b, c = (h5py.File(tmp_path / name / "mri_norm2.h5")["image"][:] for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


@pytest.mark.parametrize("number", range(6))
def test_the_atrium_is_one_moving_branching_piece(number):
    _, label = scan(number)
    assert components(label)[1] == 1
    assert 0.01 < label.mean() < 0.15
    per_slice = label.sum(axis=(0, 1))
    assert np.count_nonzero(per_slice) >= 6 and np.count_nonzero(per_slice) < SHAPE[2] + 1


def test_no_brightness_threshold_finds_the_atrium():
    """The best threshold of each scan, chosen with the answer at hand, stays far below what shape allows."""
    for number in range(4):
        image, label = scan(number)
        overlaps = [
            2 * np.sum((image > threshold) & (label > 0)) / (np.sum(image > threshold) + label.sum())
            for threshold in np.quantile(image, np.linspace(0.5, 0.99, 30))
        ]
        assert max(overlaps) < 0.7
