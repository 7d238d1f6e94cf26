"""Neighbouring classes taken for one another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.ndimage import find_objects

from noise_synthesis.recipes.base import LEAST_STRENGTH_MM, ClassParameters, Recipe
from noise_synthesis.recipes.depth import equivalent_radius_mm
from noise_synthesis.recipes.shapes import Prepared, Region, touched_by
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
    swaps: ClassVar[bool] = True
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
        """Claim voxels of the class itself and of those that touch it; the field is drawn around these alone."""
        allowed = _may_claim(value, prepared)
        inner = _box(allowed)
        shape = prepared.shapes[value]
        z, y, x = (part.start for part in inner)
        start = (shape.frame.start[0] + z, shape.frame.start[1] + y, shape.frame.start[2] + x)
        deformed = self.deform_class(shape.depth[inner], parameters, strength_mm, replace(shape.frame, start=start))
        claim = np.full(shape.depth.shape, -np.inf, dtype=np.float32)
        claim[inner] = np.where(allowed[inner], deformed / np.float32(max(strength_mm, LEAST_STRENGTH_MM)), -np.inf)
        return claim

    def floor(self, prepared: Prepared, ignore_label: int | None) -> np.ndarray:
        """Whatever is foreground goes to some class, and nothing else does."""
        foreground = (prepared.label != 0) & (prepared.label != (0 if ignore_label is None else ignore_label))
        return np.where(foreground, np.float32(-np.inf), np.float32(np.inf))

    def reach_mm(self, strength_mm: float) -> float:
        return FARTHEST_CLAIM * strength_mm


def _may_claim(value: int, prepared: Prepared) -> np.ndarray:
    """Voxels of the class and of those that touch it, in the window of the class."""
    label, mask = prepared.label[prepared.region(value)], prepared.shapes[value].mask
    return np.isin(label, touched_by(label, mask))


def _box(mask: np.ndarray) -> Region:
    """Return the bounding box of a mask that is not empty."""
    z, y, x = find_objects(mask.view(np.uint8))[0]
    return z, y, x
