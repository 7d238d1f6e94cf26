"""Rotation, erosion and dilation on hand-drawn masks."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from noise_examples import blob, drawn, frame_of
from scipy.ndimage import binary_dilation, binary_erosion

from noise_synthesis.recipes.depth import depth_map
from noise_synthesis.recipes.morphology import (
    OverSegmentation,
    RotationMorphology,
    UnderSegmentation,
    dilate,
    erode,
    rotate,
    rotation_matrix,
)

Z_AXIS = (1.0, 0.0, 0.0)


def test_dilation_by_a_disk_of_one_mm() -> None:
    mask = drawn(".....", ".....", "..1..", ".....", ".....") == 1
    grown = dilate(depth_map(mask, frame_of(mask.shape)), 1.0) > 0
    np.testing.assert_array_equal(grown, drawn(".....", ".111.", ".111.", ".111.", ".....") == 1)


def test_erosion_by_a_disk_of_one_mm() -> None:
    mask = drawn(".......", ".11111.", ".11111.", ".11111.", ".11111.", ".......") == 1
    shrunk = erode(depth_map(mask, frame_of(mask.shape)), 1.0) > 0
    np.testing.assert_array_equal(shrunk, drawn(".......", ".......", "..111..", "..111..", ".......", ".......") == 1)


def test_an_erosion_beyond_the_depth_leaves_the_core() -> None:
    mask = drawn(".......", ".11111.", ".11111.", ".11111.", ".......") == 1
    core = erode(depth_map(mask, frame_of(mask.shape)), 50.0) > 0
    np.testing.assert_array_equal(core, drawn(".......", ".......", "..111..", ".......", ".......") == 1)


@pytest.mark.parametrize("radius_voxels", [1, 2, 4])
def test_against_binary_morphology_with_a_ball(radius_voxels: int) -> None:
    """A radius between two lattice distances is scipy's morphology with the ball of all lattice points nearer."""
    mask = np.repeat(blob(0).voxels > 0, 3, axis=0)
    offsets = np.mgrid[tuple([slice(-5, 6)] * 3)]
    ball = np.sqrt((offsets**2).sum(axis=0)) < radius_voxels + 0.5
    depth = depth_map(mask, frame_of(mask.shape, per_slice=False))
    np.testing.assert_array_equal(dilate(depth, radius_voxels) > 0, binary_dilation(mask, ball))
    np.testing.assert_array_equal(erode(depth, radius_voxels) > 0, binary_erosion(mask, ball, border_value=1))


def test_rotation_by_a_right_angle_of_a_hand_drawn_l() -> None:
    mask = drawn(".....", ".1...", ".1...", ".111.", ".....") == 1
    frame = frame_of(mask.shape)
    turned = rotate(depth_map(mask, frame), math.pi / 2, Z_AXIS, frame) > 0
    assert np.count_nonzero(turned) == pytest.approx(5, abs=1)
    box = np.argwhere(np.rot90(mask, axes=(1, 2)))
    found = np.argwhere(turned)
    assert np.abs((found.max(0) - found.min(0)) - (box.max(0) - box.min(0))).max() <= 1


def test_a_full_turn_is_the_identity_and_turns_add_up() -> None:
    mask = blob(1).voxels > 0
    frame = frame_of(mask.shape, (3.0, 1.0, 1.0))
    depth = depth_map(mask, frame)
    np.testing.assert_array_equal(rotate(depth, 0.0, Z_AXIS, frame), depth)
    half = rotate(rotate(depth, math.pi, Z_AXIS, frame), math.pi, Z_AXIS, frame) > 0
    assert 2 * np.count_nonzero(half & mask) / (np.count_nonzero(half) + np.count_nonzero(mask)) > 0.97


def test_rotation_in_3d_is_in_mm_and_not_in_voxels() -> None:
    """A bar 12 mm high (3 voxels of 4 mm) becomes 12 mm, 12 voxels, long when it is laid down."""
    mask = np.zeros((9, 25, 9), dtype=bool)
    mask[3:6, 11:14, 3:6] = True
    frame = frame_of(mask.shape, (4.0, 1.0, 1.0), per_slice=False)
    lying = np.argwhere(rotate(depth_map(mask, frame), math.pi / 2, (0.0, 0.0, 1.0), frame) > 0)
    extent = lying.max(axis=0) - lying.min(axis=0) + 1
    assert extent[0] == 1 and extent[1] == pytest.approx(12, abs=2) and extent[2] == pytest.approx(3, abs=1)


def test_rotation_matrix_is_a_rotation_about_its_axis() -> None:
    axis = np.array([2.0, -1.0, 2.0]) / 3
    matrix = rotation_matrix(0.7, tuple(axis))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(matrix @ axis, axis, atol=1e-12)
    assert np.trace(matrix) == pytest.approx(1 + 2 * math.cos(0.7))


@pytest.mark.parametrize("grow", [True, False])
def test_the_coin_decides_between_growing_and_shrinking(grow: bool) -> None:
    mask = blob(2).voxels > 0
    frame = frame_of(mask.shape, (3.0, 1.0, 1.0))
    parameters = {"grow": grow, "radius_share": 0.5, "angle_share": 0.0, "axis_zyx": [1.0, 0.0, 0.0]}
    corrupted = RotationMorphology().deform_class(depth_map(mask, frame), parameters, 4.0, frame) > 0
    smaller, larger = (mask, corrupted) if grow else (corrupted, mask)
    assert (larger | ~smaller).all() and np.count_nonzero(larger) > np.count_nonzero(smaller)


def test_half_of_the_draws_grow_and_all_stay_in_their_range() -> None:
    draws = [RotationMorphology().draw_class(np.random.default_rng(seed)) for seed in range(400)]
    assert np.mean([draw["grow"] for draw in draws]) == pytest.approx(0.5, abs=0.08)
    assert all(0.2 <= draw["radius_share"] <= 1 and -1 <= draw["angle_share"] <= 1 for draw in draws)
    np.testing.assert_allclose(np.mean([draw["angle_share"] for draw in draws]), 0, atol=0.1)


@pytest.mark.parametrize("per_slice", [True, False])
def test_one_sided_recipes_are_nested_in_the_strength(per_slice: bool) -> None:
    """Common random numbers: more strength never takes back what less has done."""
    label = blob(3).voxels
    for recipe, grows in ((OverSegmentation(), True), (UnderSegmentation(), False)):
        parameters = recipe.draw(np.random.default_rng(1), [1])
        steps = [label, *(recipe.apply(label, parameters, s, (3, 1, 1), per_slice) for s in (1.0, 2.5, 5.0, 9.0))]
        for weak, strong in pairwise(steps):
            inner, outer = (weak, strong) if grows else (strong, weak)
            assert (outer[inner > 0] > 0).all() and outer.sum() > inner.sum()


def test_slice_by_slice_a_slice_does_not_know_its_neighbours() -> None:
    label = blob(4).voxels
    recipe = OverSegmentation()
    parameters = recipe.draw(np.random.default_rng(1), [1])
    whole = recipe.apply(label, parameters, 3.0, (3, 1, 1), True)
    for index in range(len(label)):
        alone = recipe.apply(label[index : index + 1], parameters, 3.0, (3, 1, 1), True)
        np.testing.assert_array_equal(whole[index : index + 1], alone)
