"""Dice overlap of label maps, the scale on which noise is calibrated."""

from __future__ import annotations

import numpy as np


def class_dice(label: np.ndarray, reference: np.ndarray, classes: list[int], valid: np.ndarray) -> dict[int, float]:
    """Return ``2 |A and B| / (|A| + |B|)`` per class over the whole volume, among the ``valid`` voxels.

    Every class is expected in ``reference``, so no value is undefined.
    """
    result = {}
    for value in classes:
        ours = (label == value) & valid
        theirs = (reference == value) & valid
        total = np.count_nonzero(ours) + np.count_nonzero(theirs)
        result[value] = 2 * np.count_nonzero(ours & theirs) / total
    return result
