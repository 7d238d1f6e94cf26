"""Depth maps on hand-drawn masks, and the rule by which classes share voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from noise_examples import drawn, frame_of

from noise_synthesis.recipes.depth import FAR_MM, class_depths, depth_map, equivalent_radius_mm, merge_depths


def test_depth_of_a_hand_drawn_row() -> None:
    """The border lies half a voxel before the first voxel of the other kind."""
    mask = drawn("..111..") == 1
    depth = depth_map(mask, frame_of(mask.shape))
    np.testing.assert_allclose(depth[0, 0], [-1.5, -0.5, 0.5, 1.5, 0.5, -0.5, -1.5])


def test_depth_is_in_mm() -> None:
    mask = drawn("..111..") == 1
    depth = depth_map(mask, frame_of(mask.shape, (5.0, 2.0, 2.0)))
    np.testing.assert_allclose(depth[0, 0], [-3, -1, 1, 3, 1, -1, -3])


def test_slice_by_slice_no_other_slice_counts() -> None:
    mask = np.stack([drawn(".....")[0] == 1, drawn(".111.")[0] == 1, drawn("11111")[0] == 1])
    flat = depth_map(mask, frame_of(mask.shape))
    np.testing.assert_allclose(flat[1, 0], [-0.5, 0.5, 1.5, 0.5, -0.5])
    assert (flat[0] <= -FAR_MM).all() and (flat[2] >= FAR_MM).all()
    solid = depth_map(mask, frame_of(mask.shape, per_slice=False))
    np.testing.assert_allclose(solid[0, 0], [-(np.sqrt(2) - 0.5), -0.5, -0.5, -0.5, -(np.sqrt(2) - 0.5)], rtol=1e-6)


@given(npst.arrays(bool, (3, 5, 6)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_positive_depth_is_the_mask(mask: np.ndarray, per_slice: bool) -> None:
    frame = frame_of(mask.shape, (2.5, 0.7, 1.1), per_slice)
    np.testing.assert_array_equal(depth_map(mask, frame) > 0, mask)


def test_neighbours_that_grow_alike_keep_their_border() -> None:
    label = drawn(
        "........",
        "..1122..",
        "..1122..",
        "........",
    )
    clean = class_depths(label, [1, 2], frame_of(label.shape))
    grown = merge_depths({value: depth + 1 for value, depth in clean.items()}, clean)
    expected = drawn(
        ".111222.",
        ".111222.",
        ".111222.",
        ".111222.",
    )
    np.testing.assert_array_equal(grown, expected)


def test_a_voxel_goes_to_the_class_in_which_it_lies_deepest() -> None:
    clean = {1: np.full((1, 1, 3), -1.0, np.float32), 2: np.full((1, 1, 3), -1.0, np.float32)}
    corrupted = {1: np.array([[[2.0, 1.0, -1.0]]], np.float32), 2: np.array([[[1.0, 2.0, -2.0]]], np.float32)}
    assert merge_depths(corrupted, clean).tolist() == [[[1, 2, 0]]]


def test_ties_go_by_the_clean_depth_then_to_the_smaller_structure() -> None:
    tie = np.array([[[1.0, 1.0]]], np.float32)
    clean = {1: np.array([[[-1.0, 3.0]]], np.float32), 2: np.array([[[-1.0, -2.0]]], np.float32)}
    # First voxel: equal in both respects, and class 2 has no voxel where class 1 has one. Second: deeper in class 1.
    assert merge_depths({1: tie, 2: tie}, clean).tolist() == [[[2, 1]]]


@given(npst.arrays(np.int64, (2, 5, 6), elements=st.integers(0, 3)), st.permutations([1, 2, 3]), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_rule_does_not_depend_on_label_order(label: np.ndarray, order: list[int], random) -> None:
    """Renaming the classes renames the result, for shapes of different size (equal sizes leave exact ties)."""
    counts = np.bincount(label.ravel(), minlength=4)[1:]
    assume(len(set(counts.tolist())) == 3 and 0 not in counts)
    renamed_label = np.array([0, *order])[label]
    grow = {value: np.float32(random.uniform(-1, 2)) for value in (1, 2, 3)}
    frame = frame_of(label.shape)
    clean = class_depths(label, [1, 2, 3], frame)
    renamed = class_depths(renamed_label, [1, 2, 3], frame)
    once = merge_depths({value: clean[value] + grow[value] for value in clean}, clean)
    twice = merge_depths({order[value - 1]: renamed[order[value - 1]] + grow[value] for value in clean}, renamed)
    np.testing.assert_array_equal(np.array([0, *order])[once], twice)


def test_equivalent_radius() -> None:
    """Slice by slice the disk of the mean slice (30 mm2), in 3D the ball of the volume (60 voxels of 2 mm3)."""
    mask = np.zeros((4, 8, 10), dtype=bool)
    mask[1:3, 1:6, 1:7] = True
    depth = np.where(mask, 1.0, -1.0)
    assert equivalent_radius_mm(depth, frame_of(mask.shape, (2, 1, 1))) == pytest.approx(np.sqrt(30 / np.pi))
    expected = np.cbrt(3 * 120 / (4 * np.pi))
    assert equivalent_radius_mm(depth, frame_of(mask.shape, (2, 1, 1), per_slice=False)) == pytest.approx(expected)
