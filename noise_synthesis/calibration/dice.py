"""Dice overlap of label maps, the scale on which noise is calibrated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from noise_synthesis.recipes.merging import Claims
from noise_synthesis.recipes.shapes import Prepared


class Overlap(NamedTuple):
    """Dice of a class with its clean shape: in the label map, and of its corrupted shape before others take from it."""

    dice: float
    alone: float


def class_overlaps(label: np.ndarray, claims: Claims, prepared: Prepared) -> dict[int, Overlap]:
    """Return the overlaps of every class, ascending, of a corrupted crop and the claims that it was made from.

    No class lies outside its window, and ignored voxels are of no class. A single class has no others.
    """
    result = {}
    for value, shape in sorted(prepared.shapes.items()):
        dice = _dice(label[prepared.region(value)] == value, shape.mask, shape.voxels)
        alone = dice if len(claims) == 1 else _dice(claims[value] > 0, shape.mask, shape.voxels)
        result[value] = Overlap(dice, alone)
    return result


def _dice(ours: np.ndarray, theirs: np.ndarray, size: int) -> float:
    """Return ``2 |A and B| / (|A| + |B|)``; ``size`` is that of ``theirs`` and not 0."""
    return 2 * np.count_nonzero(ours & theirs) / (np.count_nonzero(ours) + size)
