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
    assert by_kind["boundary", 1, 24].mean_shift_mm == pytest.approx(1.5)  # 36 mm3 over 8 faces of 3 mm2
    assert by_kind["boundary", 0, 16].mean_shift_mm == pytest.approx(-2.0)
    assert not any(region.whole_slices for key, region in by_kind.items() if key[0] in ("boundary", "other class"))
    missing = by_kind["missing", 1, 4]
    assert missing.whole_slices, "class 1 is not given anywhere on slice 0"
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


def regions_of(given, better):
    return find_regions(given, better, np.ones(given.shape), GEOMETRY)


def test_slices_without_their_structure_are_missing_and_no_far_boundary():
    """The last two of three slices lack the object, and on the first it is one voxel short."""
    given, better = np.zeros((2, 4, 20, 40), np.int64)
    better[:3, 5:15, 10:30] = 1
    given[0, 5:15, 10:29] = 1
    missing, boundary = regions_of(given, better)
    assert (missing.kind, missing.whole_slices, missing.slices, missing.shift_mm) == ("missing", True, (1, 2), None)
    assert (boundary.kind, boundary.slices, boundary.voxels) == ("boundary", (0, 0), 10)
    assert boundary.shift_mm == boundary.mean_shift_mm == pytest.approx(0.5)
    surplus, inwards = regions_of(better, given)
    assert (surplus.kind, surplus.whole_slices, surplus.slices) == ("surplus", True, (1, 2))
    assert inwards.shift_mm == pytest.approx(-0.5)


def test_a_bump_is_thinner_on_average_than_at_its_top():
    """Four columns of 1, 2, 3 and 2 voxels of 0.5 mm: 4 mm thick together, 1 mm each, and 1.5 mm at most."""
    given, better = np.zeros((2, 4, 20, 40), np.int64)
    given[1, 4:12, 4:8] = 1
    better[:] = given
    for row, tall in zip(range(5, 9), (1, 2, 3, 2), strict=True):
        better[1, row, 8 : 8 + tall] = 1
    (bump,) = regions_of(given, better)
    assert bump.mean_shift_mm == pytest.approx(1.0) and bump.shift_mm == pytest.approx(1.5)


@pytest.mark.parametrize(("slice_", "column", "together"), [(1, 22, 1), (1, 34, 2), (2, 22, 1), (3, 22, 2)])
def test_pieces_belong_together_that_lie_close_in_the_same_or_the_next_slice(slice_, column, together):
    """Two pieces that an object on all slices lacks; the second is 5.5 or 11.5 mm from the first, or a slice apart."""
    given = np.zeros((4, 20, 40), np.int64)
    given[:, 15:19] = 1
    better = given.copy()
    better[1, 2:4, 8:12] = better[slice_, 2:4, column : column + 2] = 1
    found = regions_of(given, better)
    assert len(found) == together and sum(region.voxels for region in found) == 12
    assert {(region.kind, region.whole_slices) for region in found} == {("missing", False)}
    if together == 1:
        assert found[0].slices == (1, slice_) and found[0].size_mm3 == pytest.approx(12 * 1.5)


def test_pieces_of_other_classes_or_kinds_stay_apart():
    given, better = np.zeros((2, 4, 20, 40), np.int64)
    given[:, 5:15, 4:8] = 1
    better[:] = given
    better[1, 5:15, 8:9] = 1  # boundary
    better[1, 5:15, 11:12] = 1  # a separate piece
    better[1, 5:15, 13:14] = 2  # another class, nowhere given
    assert {(r.kind, r.proposed, r.whole_slices) for r in regions_of(given, better)} == {
        ("boundary", 1, False), ("missing", 1, False), ("missing", 2, True),
    }  # fmt: skip
