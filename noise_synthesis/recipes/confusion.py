"""Neighbouring classes taken for one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.ndimage import binary_dilation

from noise_synthesis.recipes.base import ClassParameters, Parameters, Recipe
from noise_synthesis.recipes.depth import equivalent_radius_mm
from noise_synthesis.recipes.smooth_noise import smooth_noise
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.volumes import Frame


@dataclass(frozen=True)
class ClassConfusion(Recipe):
    """Neighbouring foreground classes swapped in part; the border of the foreground as a whole stays.

    Every class's depth is raised or lowered by a smooth random field of standard deviation ``strength_mm`` with a knot
    every ``knot_share`` equivalent radii; a foreground voxel then belongs to the deepest class among its own and those
    that touch its own. So the common border of two classes wanders by about ``strength_mm``, and beyond the size of
    the classes whole parts of them change sides.
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

    def deform(
        self, depths: dict[int, np.ndarray], parameters: Parameters, strength_mm: float, frame: Frame
    ) -> dict[int, np.ndarray]:
        """Return 1 where a class has the deepest claim, -1 elsewhere."""
        masks = {value: depth > 0 for value, depth in depths.items()}
        disturbed = super().deform(depths, parameters, strength_mm, frame)
        claims = {
            value: np.where(_may_claim(value, masks), disturbed[value], -np.inf).astype(np.float32) for value in masks
        }
        strongest = np.maximum.reduce(list(claims.values()))
        foreground = np.logical_or.reduce(list(masks.values()))
        return {
            value: np.where(foreground & (claim == strongest), np.float32(1), np.float32(-1))
            for value, claim in claims.items()
        }

    def reach_mm(self, strength_mm: float) -> float:
        return 0.0


def _may_claim(value: int, masks: dict[int, np.ndarray]) -> np.ndarray:
    """Voxels of the class and of those that touch it."""
    grown = binary_dilation(masks[value])
    allowed = masks[value].copy()
    for other, mask in masks.items():
        if other != value and (grown & mask).any():
            allowed |= mask
    return allowed
