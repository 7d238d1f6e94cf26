"""Boundary, missing slices, components, class confusion."""

from __future__ import annotations

import numpy as np
import pytest
from noise_examples import SPACING_MM, blob, drawn, frame_of

from noise_synthesis.recipes.boundary import Boundary
from noise_synthesis.recipes.components import Components, distance_mm, outward
from noise_synthesis.recipes.confusion import ClassConfusion
from noise_synthesis.recipes.depth import depth_map
from noise_synthesis.recipes.slices import MissingSlices
from noise_synthesis.safe_io.errors import InputError


def column(*areas: int) -> np.ndarray:
    """A stack of slices with so many foreground voxels each."""
    label = np.zeros((len(areas), 1, 12), dtype=np.uint8)
    for index, area in enumerate(areas):
        label[index, 0, :area] = 1
    return label


def missing(label: np.ndarray, strength_mm: float, **parameters: object) -> list[int]:
    drawn_parameters = {"at_ends": True, "share": 1.0, "lower_end_share": 0.5, "order_seed": 0, **parameters}
    corrupted = MissingSlices().apply(label, {"1": drawn_parameters}, strength_mm, (2.0, 1.0, 1.0), True)
    kept = np.flatnonzero(corrupted.any(axis=(1, 2)))
    np.testing.assert_array_equal(corrupted[kept], label[kept])
    return [int(index) for index in np.flatnonzero(label.any(axis=(1, 2))) if index not in kept]


def test_slices_are_missing_at_both_ends() -> None:
    label = column(0, 4, 5, 8, 9, 6, 5, 0)
    assert missing(label, 8.0) == [1, 2, 5, 6]  # 8 mm are 4 slices of 2 mm
    assert missing(label, 6.0, lower_end_share=0.0) == [4, 5, 6][1:]  # the largest slice, 4, stays
    assert missing(label, 8.0, share=0.5, lower_end_share=1.0) == [1, 2]
    assert missing(label, 100.0) == [1, 2, 3, 5, 6]


def test_slices_are_missing_here_and_there() -> None:
    label = column(0, 4, 5, 8, 9, 6, 5, 0)
    weak = missing(label, 4.0, at_ends=False, order_seed=3)
    strong = missing(label, 8.0, at_ends=False, order_seed=3)
    assert set(weak) <= set(strong) and len(strong) >= 3
    assert missing(label, 100.0, at_ends=False) == [1, 2, 3, 5, 6]


def test_a_missing_slice_is_missing_for_one_class_only() -> None:
    label = np.concatenate([column(3, 3, 6, 3, 3), 2 * column(3, 3, 6, 3, 3)], axis=1)
    recipe = MissingSlices()
    parameters = recipe.draw(np.random.default_rng(0), [1, 2])
    parameters["1"] |= {"at_ends": True, "share": 1.0, "lower_end_share": 1.0}
    parameters["2"] |= {"at_ends": True, "share": 1.0, "lower_end_share": 0.0}
    corrupted = recipe.apply(label, parameters, 1.0, (1.0, 1.0, 1.0), True)
    assert not (corrupted[0] == 1).any() and (corrupted[0] == 2).any()
    assert (corrupted[4] == 1).any() and not (corrupted[4] == 2).any()


@pytest.mark.parametrize("per_slice", [True, False])
def test_boundary_moves_by_about_the_strength(per_slice: bool) -> None:
    """No changed voxel lies farther from the true border than the longest displacement."""
    label = blob(0).voxels
    frame = frame_of(label.shape, SPACING_MM, per_slice)
    recipe = Boundary()
    for seed in range(4):
        parameters = recipe.draw(np.random.default_rng(seed), [1])
        changed = recipe.apply(label, parameters, 2.0, SPACING_MM, per_slice) != label
        depths = np.abs(depth_map(label > 0, frame)[changed & label.any(axis=(1, 2), keepdims=True)])
        assert 0.5 < depths.max() <= 2.5 * 2.0 + 1


def test_boundary_neither_grows_nor_shrinks_on_average() -> None:
    label = blob(1).voxels
    recipe = Boundary()
    sizes = [
        np.count_nonzero(recipe.apply(label, recipe.draw(np.random.default_rng(s), [1]), 2.0, SPACING_MM, True))
        for s in range(12)
    ]
    assert np.mean(sizes) == pytest.approx(np.count_nonzero(label), rel=0.06)


def test_components_of_the_label_below_the_size_are_overlooked() -> None:
    label = drawn(
        "............",
        ".111111...1.",
        ".111111.....",
        ".111111.....",
        ".111111..11.",
        ".........11.",
    )
    recipe = Components(blobs=0)
    corrupted = recipe.apply(label, {"1": {"blob_seed": 0}}, 1.6, (1.0, 1.0, 1.0), True)
    expected = label.copy()
    expected[0, 1, 10] = 0  # radius 0.56 mm, below 0.5 * 1.6; the square of 4 has 1.13 mm
    np.testing.assert_array_equal(corrupted, expected)
    all_gone = recipe.apply(label, {"1": {"blob_seed": 0}}, 100.0, (1.0, 1.0, 1.0), True)
    np.testing.assert_array_equal(all_gone[0, :, :8], label[0, :, :8])
    assert not all_gone[0, :, 8:].any()


@pytest.mark.parametrize("per_slice", [True, False])
def test_components_are_bitten_off_and_added(per_slice: bool) -> None:
    label = blob(2).voxels
    recipe = Components()
    added = removed = 0
    for seed in range(6):
        corrupted = recipe.apply(label, recipe.draw(np.random.default_rng(seed), [1]), 5.0, SPACING_MM, per_slice)
        added += np.count_nonzero((corrupted > 0) & (label == 0))
        removed += np.count_nonzero((corrupted == 0) & (label > 0))
    assert added > 100 and removed > 100


def test_outward_points_out_of_the_shape_in_mm() -> None:
    mask = np.zeros((1, 9, 9), bool)
    mask[0, :, :5] = True
    depth = depth_map(mask, frame_of(mask.shape))[0]
    np.testing.assert_allclose(outward(depth, np.array([4, 4]), (1.0, 1.0)), [0, 1])
    slanted = np.add.outer(np.arange(5.0), np.arange(5.0)) * -1
    np.testing.assert_allclose(outward(slanted, np.array([2, 2]), (1.0, 2.0)), np.array([2, 1]) / np.sqrt(5))


def test_distance_is_in_mm() -> None:
    found = distance_mm(np.array([2.0, 0.0]), (3, 3), (2.0, 1.0))
    np.testing.assert_allclose(found, np.hypot(*np.meshgrid([-2, 0, 2], [0, 1, 2], indexing="ij")), rtol=1e-6)


@pytest.mark.parametrize("strength_mm", [2.0, 30.0])
def test_confusion_keeps_the_foreground_and_moves_the_common_border(strength_mm: float) -> None:
    label = blob(3, classes=2).voxels
    recipe = ClassConfusion()
    corrupted = recipe.apply(label, recipe.draw(np.random.default_rng(0), [1, 2]), strength_mm, SPACING_MM, True)
    np.testing.assert_array_equal(corrupted > 0, label > 0)
    assert (corrupted != label).any()


def test_confusion_leaves_classes_alone_that_do_not_touch() -> None:
    label = drawn("11112222....3333", "11112222....3333", "11112222....3333")
    recipe = ClassConfusion()
    for seed in range(8):
        corrupted = recipe.apply(label, recipe.draw(np.random.default_rng(seed), [1, 2, 3]), 50.0, (1, 1, 1), True)
        np.testing.assert_array_equal(corrupted == 3, label == 3)


def test_confusion_wants_two_classes() -> None:
    with pytest.raises(InputError, match="got labels with 1 foreground class at most, expected two or more"):
        ClassConfusion().require_applicable([1])
