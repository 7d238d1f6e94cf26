"""Slices that the annotator left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from noise_synthesis.recipes.base import ClassParameters, Recipe
from noise_synthesis.recipes.depth import FAR_MM
from noise_synthesis.safe_io.volumes import Frame


@dataclass(frozen=True)
class MissingSlices(Recipe):
    """Axial slices without their label, ``share * strength_mm`` of a structure's height in all.

    In half of the cases the annotator began too late and stopped too early (at either end by a random part), in the
    other half left out slices here and there. The largest slice always stays. A slice has a label or not, so few cases
    with thick slices cannot meet every target.
    """

    name: ClassVar[str] = "missing_slices"
    summary: ClassVar[str] = "slices without label, at the ends or here and there"
    smallest_share: float = 0.5

    def draw_class(self, rng: np.random.Generator) -> ClassParameters:
        return {
            "at_ends": bool(rng.random() < 0.5),
            "share": float(rng.uniform(self.smallest_share, 1)),
            "lower_end_share": float(rng.random()),
            "order_seed": int(rng.integers(2**31)),
        }

    def deform_class(
        self, depth: np.ndarray, parameters: ClassParameters, strength_mm: float, frame: Frame
    ) -> np.ndarray:
        areas = np.count_nonzero(depth > 0, axis=(1, 2))
        labelled = np.flatnonzero(areas)
        missing_slices = parameters["share"] * strength_mm / frame.spacing_mm[0]
        chosen = labelled[self._choose(len(labelled), missing_slices, parameters)]
        corrupted = depth.copy()
        corrupted[chosen[chosen != areas.argmax()]] = -FAR_MM
        return corrupted

    def reach_mm(self, strength_mm: float) -> float:
        return 0.0

    @staticmethod
    def _choose(count: int, missing: float, parameters: ClassParameters) -> np.ndarray:
        """Positions, among ``count`` labelled slices, of those to leave out."""
        if parameters["at_ends"]:
            below = round(missing * parameters["lower_end_share"])
            above = round(missing) - below
            positions = np.arange(count)
            return positions[(positions < below) | (positions >= count - above)]
        order = np.random.default_rng(parameters["order_seed"]).permutation(count)
        return order[: round(missing)]
