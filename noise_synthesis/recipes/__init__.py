"""The noise recipes by name."""

from __future__ import annotations

from noise_synthesis.errors import InputError
from noise_synthesis.recipe_names import DEFAULT_RECIPE
from noise_synthesis.recipes.base import Recipe
from noise_synthesis.recipes.morphology import OverSegmentation, RotationMorphology, UnderSegmentation

__all__ = ["DEFAULT_RECIPE", "RECIPES", "Recipe", "find_recipe"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (RotationMorphology(), OverSegmentation(), UnderSegmentation())
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
