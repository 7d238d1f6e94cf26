"""Names of the recipes, for option lists that must not load scipy."""

from __future__ import annotations

DEFAULT_RECIPE = "rotation_morphology"
RECIPE_NAMES = (
    DEFAULT_RECIPE,
    "boundary",
    "over_segmentation",
    "under_segmentation",
    "missing_slices",
    "components",
    "class_confusion",
)
