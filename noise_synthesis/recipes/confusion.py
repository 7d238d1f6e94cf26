"""Neighbouring classes taken for one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.ndimage import binary_dilation

from noise_synthesis.recipes.base import ClassParameters, Recipe
from noise_synthesis.recipes.depth import equivalent_radius_mm
from noise_synthesis.recipes.shapes import Prepared
from noise_synthesis.recipes.smooth_noise import smooth_noise
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.volumes import Frame

# No voxel changes sides further than this multiple of the strength from the class that claims it: two random fields
# differ by sqrt(2) standard deviations, and hardly ever by more than four times that.
FARTHEST_CLAIM = 6.0


@dataclass(frozen=True)
class ClassConfusion(Recipe):
    """Neighbouring foreground classes swapped in part; the border of the foreground as a whole stays.

    Every class's depth is raised or lowered by a smooth random field of standard deviation ``strength_mm`` with a knot
    every ``knot_share`` equivalent radii; a foreground voxel then belongs to the class with the highest claim among
    its own and those that touch its own. So the common border of two classes wanders by about ``strength_mm``, and
    beyond the size of the classes whole parts of them change sides.
    """

    name: ClassVar[str] = "class_confusion"
    summary: ClassVar[str] = "neighbouring classes swapped in part"
    knot_share: float = 0.9

    def draw_class(self, rng: np.random.Generator) -> ClassParameters:
        return {"field_seed": int(rng.integers(2**31))}

    def require_applicable(self, classes: list[int]) -> None:
        if len(classes) < 2:
            raise InputError(
                f"recipe {self.name}: got labels with {len(classes)} foreground class at most, expected two or more"
            )

    def deform_class(
        self, depth: np.ndarray, parameters: ClassParameters, strength_mm: float, frame: Frame
    ) -> np.ndarray:
        """Return the depth map raised and lowered at random."""
        rng = np.random.default_rng(parameters["field_seed"])
        knot_distance_mm = self.knot_share * equivalent_radius_mm(depth, frame)
        return depth + np.float32(strength_mm) * smooth_noise(rng, knot_distance_mm, depth.shape, frame)

    def claim(self, value: int, prepared: Prepared, parameters: ClassParameters, strength_mm: float) -> np.ndarray:
        """Claim voxels of the class itself and of those that touch it."""
        claim = super().claim(value, prepared, parameters, strength_mm)
        return np.where(_may_claim(value, prepared), claim, np.float32(-np.inf))

    def floor(self, prepared: Prepared, ignore_label: int | None) -> np.ndarray:
        """Whatever is foreground goes to some class, and nothing else does."""
        foreground = (prepared.label != 0) & (prepared.label != (0 if ignore_label is None else ignore_label))
        return np.where(foreground, np.float32(-np.inf), np.float32(np.inf))

    def reach_mm(self, strength_mm: float) -> float:
        return FARTHEST_CLAIM * strength_mm


def _may_claim(value: int, prepared: Prepared) -> np.ndarray:
    """Voxels of the class and of those that touch it, in the window of the class."""
    label = prepared.label[prepared.region(value)]
    return np.isin(label, np.unique(label[binary_dilation(label == value)]))
