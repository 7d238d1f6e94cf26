"""What holds for every recipe: identities, values, ignored voxels, common random numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noise_examples import SPACING_MM, blob

from noise_synthesis.recipes.base import Recipe
from noise_synthesis.recipes.components import Components
from noise_synthesis.recipes.names import DEFAULT_RECIPE, RECIPE_NAMES
from noise_synthesis.recipes.table import RECIPES, find_recipe
from noise_synthesis.safe_io.errors import InputError

ALL = pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
# The random field of these belongs to the volume: another field of view is another field.
WITH_FIELD = ("boundary", "class_confusion")
EITHER_WAY = pytest.mark.parametrize("per_slice", [True, False], ids=["per_slice", "3d"])


def apply(recipe: Recipe, label: np.ndarray, strength_mm: float, per_slice: bool = True, seed: int = 5, **kwargs: int):
    classes = [1, 2]
    parameters = recipe.draw(np.random.default_rng(seed), classes)
    return recipe.apply(label, parameters, strength_mm, SPACING_MM, per_slice, **kwargs)


def test_names_for_the_command_line_are_the_recipes() -> None:
    assert list(RECIPES) == list(RECIPE_NAMES) and DEFAULT_RECIPE == "rotation_morphology"


def test_find_recipe_takes_names_and_recipes_and_names_the_choices_otherwise() -> None:
    assert find_recipe(find_recipe("boundary")).name == "boundary"
    with pytest.raises(InputError, match="got 'blur', expected one of rotation_morphology, boundary, over_segm"):
        find_recipe("blur")


@ALL
@EITHER_WAY
def test_strength_zero_is_the_identity(recipe: Recipe, per_slice: bool) -> None:
    label = blob(0, classes=2, ignore_label=3).voxels
    np.testing.assert_array_equal(apply(recipe, label, 0.0, per_slice, ignore_label=3), label)


@ALL
@EITHER_WAY
def test_next_to_no_strength_is_next_to_the_identity(recipe: Recipe, per_slice: bool) -> None:
    """The way through depth maps loses nothing; only the centre voxels of the smallest bites may go."""
    label = blob(1, classes=2).voxels
    changed = apply(recipe, label, 1e-3, per_slice) != label
    allowed = 2 * recipe.blobs * len(label) if isinstance(recipe, Components) else 0
    assert np.count_nonzero(changed) <= allowed


@ALL
@EITHER_WAY
def test_a_fair_strength_changes_the_label_and_not_its_input(recipe: Recipe, per_slice: bool) -> None:
    label = blob(2, classes=2).voxels
    before = label.copy()
    corrupted = apply(recipe, label, 9.0, per_slice)
    np.testing.assert_array_equal(label, before)
    assert corrupted.shape == label.shape and corrupted.dtype == label.dtype
    assert np.mean(corrupted[label > 0] != label[label > 0]) > 0.03 or (corrupted[label == 0] > 0).any()


@ALL
@given(seed=st.integers(0, 200), strength_mm=st.floats(0.5, 40), per_slice=st.booleans())
@settings(max_examples=8, deadline=None)
def test_ignored_voxels_stay_and_no_new_value_appears(
    recipe: Recipe, seed: int, strength_mm: float, per_slice: bool
) -> None:
    label = blob(seed, classes=2, ignore_label=7, dtype="int16").voxels
    corrupted = apply(recipe, label, strength_mm, per_slice, seed=seed, ignore_label=7)
    np.testing.assert_array_equal(corrupted == 7, label == 7)
    assert set(np.unique(corrupted)) <= {0, 1, 2, 7}


@ALL
def test_the_same_parameters_give_the_same_bytes(recipe: Recipe) -> None:
    label = blob(3, classes=2).voxels
    assert apply(recipe, label, 6.0).tobytes() == apply(recipe, label, 6.0).tobytes()
    assert apply(recipe, label, 6.0, seed=1).tobytes() != apply(recipe, label, 6.0, seed=2).tobytes()


@ALL
def test_parameters_survive_json(recipe: Recipe) -> None:
    """What provenance records is enough to make the label again."""
    label = blob(4, classes=2).voxels
    parameters = recipe.draw(np.random.default_rng(0), [1, 2])
    again = json.loads(json.dumps(parameters))
    np.testing.assert_array_equal(
        recipe.apply(label, parameters, 5.0, SPACING_MM, True), recipe.apply(label, again, 5.0, SPACING_MM, True)
    )


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES.values() if recipe.name not in WITH_FIELD])
@EITHER_WAY
def test_a_margin_of_nothing_does_not_matter(recipe: Recipe, per_slice: bool) -> None:
    """Background around a volume, as from a larger field of view, leaves the same label in its middle."""
    label = blob(5, classes=2).voxels
    rooms = [(0 if per_slice and axis == 0 else 40,) * 2 for axis in range(3)]
    inner = tuple(slice(before, before + n) for (before, _), n in zip(rooms, label.shape, strict=True))
    wide = apply(recipe, np.pad(label, rooms), 4.0, per_slice)
    np.testing.assert_array_equal(wide[inner], apply(recipe, label, 4.0, per_slice))


@ALL
def test_labels_without_foreground_are_left_alone(recipe: Recipe) -> None:
    for label in (np.zeros((3, 9, 9), np.uint8), np.full((3, 9, 9), 4, np.uint8)):
        np.testing.assert_array_equal(apply(recipe, label, 5.0, ignore_label=4), label)


@pytest.mark.parametrize("name", [name for name in RECIPE_NAMES if name != "missing_slices"])
def test_slice_by_slice_a_single_slice_can_be_corrupted(name: str) -> None:
    label = blob(6, classes=2).voxels[6:7]
    assert (apply(RECIPES[name], label, 8.0) != label).any()


@pytest.mark.parametrize("name", ["rotation_morphology", "under_segmentation", "components", "missing_slices"])
@EITHER_WAY
def test_no_strength_makes_a_single_class_vanish(name: str, per_slice: bool) -> None:
    label = blob(7).voxels
    for seed in range(6):
        assert (apply(RECIPES[name], label, 500.0, per_slice, seed=seed) > 0).any()
