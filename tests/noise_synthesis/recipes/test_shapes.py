"""Windows of classes: what lies in them, and that their size does not change the noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from noise_examples import SPACING_MM, TOUCHING, blob

from noise_synthesis.recipes.base import Recipe
from noise_synthesis.recipes.boundary import Boundary
from noise_synthesis.recipes.components import Components
from noise_synthesis.recipes.morphology import OverSegmentation, RotationMorphology
from noise_synthesis.recipes.shapes import class_boxes, extent_mm, prepare
from noise_synthesis.safe_io.volumes import LabelVolume, tight_crop


def two_boxes() -> LabelVolume:
    label = np.zeros((6, 20, 30), np.uint8)
    label[1:3, 4:8, 5:15] = 3
    label[2:5, 10:12, 20:21] = 7
    label[0, 0, 0] = 9
    return LabelVolume(label, (3.0, 1.0, 1.0))


def test_boxes_are_in_the_volume_and_without_the_ignore_label() -> None:
    crop = tight_crop(two_boxes())
    assert crop is not None
    boxes = class_boxes(crop, ignore_label=9)
    assert boxes == {3: [(1, 3), (4, 8), (5, 15)], 7: [(2, 5), (10, 12), (20, 21)]}
    assert extent_mm(boxes[7], crop.spacing_mm) == pytest.approx(np.sqrt(9**2 + 2**2 + 1))


@pytest.mark.parametrize(("per_slice", "slices"), [(True, [3, 2]), (False, [6, 5])])
def test_each_class_has_a_window_of_its_own_reach(per_slice: bool, slices: list[int]) -> None:
    """Reaches of 4 and 2 mm: one voxel more than that in the slice, and across slices of 3 mm three and two voxels."""
    crop = tight_crop(two_boxes())
    assert crop is not None
    prepared = prepare(crop, {3: 2.0, 7: 4.0}.__getitem__, per_slice, ignore_label=9)
    assert list(prepared.shapes) == [7, 3], "the smaller one comes first"
    assert [shape.depth.shape for shape in prepared.shapes.values()] == [(slices[0], 12, 11), (slices[1], 10, 16)]
    for value, shape in prepared.shapes.items():
        np.testing.assert_array_equal(shape.mask, prepared.label[prepared.region(value)] == value)
        assert shape.voxels == np.count_nonzero(two_boxes().voxels == value)


@dataclass(frozen=True)
class WideBoundary(Boundary):
    def reach_mm(self, strength_mm: float) -> float:
        return 40.0


@dataclass(frozen=True)
class WideComponents(Components):
    def reach_mm(self, strength_mm: float) -> float:
        return 40.0


@dataclass(frozen=True)
class WideRotation(RotationMorphology):
    def reach_mm(self, strength_mm: float) -> float:
        return 40.0


@dataclass(frozen=True)
class WideGrowth(OverSegmentation):
    def reach_mm(self, strength_mm: float) -> float:
        return 40.0


@pytest.mark.parametrize(
    ("recipe", "wide"),
    [
        (Boundary(), WideBoundary()),
        (Components(), WideComponents()),
        (RotationMorphology(), WideRotation()),
        (OverSegmentation(), WideGrowth()),
    ],
    ids=lambda recipe: recipe.name,
)
@pytest.mark.parametrize("per_slice", [True, False])
@pytest.mark.parametrize("shape", TOUCHING)
def test_the_size_of_the_windows_does_not_matter(recipe: Recipe, wide: Recipe, per_slice: bool, shape: str) -> None:
    label = TOUCHING[shape](0).voxels
    parameters = recipe.draw(np.random.default_rng(3), [1, 2, 3])
    results = [
        each.apply(label, parameters, {1: 3.0, 2: 1.3, 3: 2.0}, SPACING_MM, per_slice) for each in (recipe, wide)
    ]
    np.testing.assert_array_equal(*results)


def test_a_single_class_has_the_whole_crop_for_its_window() -> None:
    crop = tight_crop(blob(0, ignore_label=3))
    assert crop is not None
    prepared = prepare(crop, lambda value: 5.0, True, ignore_label=3)
    assert prepared.shapes[1].depth.shape == prepared.label.shape
