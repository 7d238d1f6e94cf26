"""Regions of suspected errors, by hand values and by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dataset_conversion.raw.geometry import Grid
from nnunetv2_mlbseg.audit.regions import find_regions

GEOMETRY = Grid.of_itk((40, 20, 4), (0.5, 1.0, 3.0), (10.0, 20.0, 30.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def shapes():
    """A given label and a better one: an object missing, one too many, a boundary too far in and one too far out."""
    given, better = np.zeros((2, 4, 20, 40), np.int64)
    given[1:3, 8:12, 4:8], better[1:3, 8:12, 4:11] = 1, 1  # 3 voxels of 0.5 mm short
    given[1:3, 8:14, 20:24], better[1:3, 8:12, 20:24] = 1, 1  # 2 voxels of 1 mm too far
    better[0, 1:3, 1:3] = 1
    given[3, 17:19, 30:36] = 1
    given[3, 1:4, 36:39], better[3, 1:4, 36:39] = 1, 2
    return given, better


def test_regions_have_kind_size_shift_and_place():
    given, better = shapes()
    found = find_regions(given, better, np.full(given.shape, 0.75), GEOMETRY)
    by_kind = {(region.kind, region.proposed, region.voxels): region for region in found}
    assert set(by_kind) == {
        ("boundary", 1, 24), ("boundary", 0, 16), ("surplus", 0, 12), ("other class", 2, 9), ("missing", 1, 4),
    }  # fmt: skip
    assert [region.voxels for region in found] == [24, 16, 12, 9, 4]
    assert by_kind["boundary", 1, 24].shift_mm == pytest.approx(1.5)
    assert by_kind["boundary", 0, 16].shift_mm == pytest.approx(-2.0)
    missing = by_kind["missing", 1, 4]
    assert missing.size_mm3 == pytest.approx(4 * 1.5)
    assert missing.centroid_mm == pytest.approx((10 + 1.5 * 0.5, 20 + 1.5, 30))
    assert (missing.worst_slice, missing.slices, missing.shift_mm) == (0, (0, 0), None)
    assert missing.suspicion == pytest.approx(0.75)


def test_small_regions_and_voxels_without_label_are_left_out():
    given, better = shapes()
    assert {r.voxels for r in find_regions(given, better, given * 0.5, GEOMETRY, smallest_mm3=20)} == {24, 16}
    assert find_regions(np.full_like(given, -1), better, given * 0.5, GEOMETRY) == []
    assert find_regions(given, given, given * 0.5, GEOMETRY) == []


def test_shifts_agree_with_a_distance_taken_by_brute_force():
    rng = np.random.default_rng(0)
    given = np.zeros((3, 12, 12), np.int64)
    given[:, 3:6, 3:6] = 1
    better = given.copy()
    better[1, 6:9, 4:10] = 1
    (region,) = find_regions(given, better, rng.random(given.shape), GEOMETRY)
    inside, outside = np.argwhere(given == 1), np.argwhere((given == 0) & (better == 1))
    steps = (outside[:, None] - inside[None]) * np.array([3.0, 1.0, 0.5])
    assert region.shift_mm == pytest.approx(np.sqrt((steps**2).sum(-1)).min(1).max())
    assert math.isclose(region.size_mm3, 18 * 1.5)


def test_positions_follow_the_direction_of_the_header():
    turned = Grid.of_itk((4, 4, 4), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0), (0, -1, 0, 1, 0, 0, 0, 0, 1))
    assert turned.place_mm((1, 1, 1)) == pytest.approx((-2, 1, 3))
