"""The noise recipes by name."""

from __future__ import annotations

from noise_synthesis.recipes.base import Recipe
from noise_synthesis.recipes.boundary import Boundary
from noise_synthesis.recipes.components import Components
from noise_synthesis.recipes.confusion import ClassConfusion
from noise_synthesis.recipes.morphology import OverSegmentation, RotationMorphology, UnderSegmentation
from noise_synthesis.recipes.slices import MissingSlices
from noise_synthesis.safe_io.errors import InputError

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        RotationMorphology(),
        Boundary(),
        OverSegmentation(),
        UnderSegmentation(),
        MissingSlices(),
        Components(),
        ClassConfusion(),
    )
}


def find_recipe(recipe: str | Recipe) -> Recipe:
    """Return the recipe of this name; a recipe itself passes through.

    Raises:
        InputError: no recipe has that name.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise InputError(f"noise recipe: got {recipe!r}, expected one of {', '.join(RECIPES)}")
    return RECIPES[recipe]
