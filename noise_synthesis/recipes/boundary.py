"""Wavy borders: a smooth random displacement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.ndimage import map_coordinates

from noise_synthesis.recipes.base import ClassParameters, Recipe
from noise_synthesis.recipes.depth import equivalent_radius_mm
from noise_synthesis.recipes.smooth_noise import smooth_noise
from noise_synthesis.safe_io.volumes import Frame

# A displacement is cut off at this multiple of its root mean square.
LONGEST_SHARE = 2.5


@dataclass(frozen=True)
class Boundary(Recipe):
    """Every point of a structure displaced by a smooth random field of root mean square ``strength_mm``.

    The field has a knot every ``knot_share`` equivalent radii of the structure, which sets the width of the bulges
    and dents. Slice by slice the displacement stays in the slice and is independent from slice to slice.
    """

    name: ClassVar[str] = "boundary"
    summary: ClassVar[str] = "borders displaced by a smooth random field"
    knot_share: float = 0.7

    def draw_class(self, rng: np.random.Generator) -> ClassParameters:
        return {"field_seed": int(rng.integers(2**31))}

    def deform_class(
        self, depth: np.ndarray, parameters: ClassParameters, strength_mm: float, frame: Frame
    ) -> np.ndarray:
        rng = np.random.default_rng(parameters["field_seed"])
        axes = (1, 2) if frame.per_slice else (0, 1, 2)
        knot_distance_mm = self.knot_share * equivalent_radius_mm(depth, frame)
        field = np.stack([smooth_noise(rng, knot_distance_mm, depth.shape, frame) for _ in axes])
        shift_mm = strength_mm / np.sqrt(len(axes)) * field
        length_mm = np.linalg.norm(shift_mm, axis=0)
        shift_mm *= np.minimum(1, LONGEST_SHARE * strength_mm / np.maximum(length_mm, 1e-6))
        points = np.indices(depth.shape, dtype=np.float32)
        for axis, shift in zip(axes, shift_mm, strict=True):
            points[axis] += shift / frame.spacing_mm[axis]
        return map_coordinates(depth, points, order=1, mode="nearest")

    def reach_mm(self, strength_mm: float) -> float:
        return LONGEST_SHARE * strength_mm
