"""Made-up organs to show and to test noise on: rounded, lobed, no two alike, and nobody's."""

from __future__ import annotations

import numpy as np

from noise_synthesis.recipes.smooth_noise import smooth_noise
from noise_synthesis.safe_io.volumes import Frame, LabelVolume

SHAPE = (26, 112, 112)
SPACING_MM = (2.5, 0.8, 0.8)
_LOBES = 3
_ROUGHNESS_MM = 2.2
_KNOT_DISTANCE_MM = 11.0


def synthetic_volume(seed: int, classes: int = 1) -> LabelVolume:
    """Return a label volume with one organ of three lobes, about 50 mm wide, at 0.8 mm in the slice and 2.5 mm across.

    With ``classes`` 2 a wavy wall parts the organ into two neighbours, label 1 and 2.
    """
    rng = np.random.default_rng([20, seed])
    frame = Frame((0, 0, 0), SHAPE, SPACING_MM, per_slice=False)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(SHAPE, SPACING_MM, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    depth = np.full(SHAPE, -np.inf)
    turn = rng.uniform(0, 2 * np.pi)
    for lobe in range(_LOBES):
        angle = turn + lobe * 2 * np.pi / _LOBES + rng.uniform(-0.3, 0.3)
        away, radius = rng.uniform(9, 13), rng.uniform(11, 16)
        centre = (rng.uniform(-6, 6), away * np.sin(angle), away * np.cos(angle))
        distance = np.sqrt((0.75 * (z - centre[0])) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
        depth = np.logaddexp(0.4 * depth, 0.4 * (radius - distance)) / 0.4
    depth += _ROUGHNESS_MM * smooth_noise(rng, _KNOT_DISTANCE_MM, SHAPE, frame)
    label = (depth > 0).astype(np.uint8)
    if classes == 2:
        wall = x * np.cos(turn) + y * np.sin(turn) + 3 * smooth_noise(rng, _KNOT_DISTANCE_MM, SHAPE, frame)
        label[(label > 0) & (wall > 0)] = 2
    return LabelVolume(label, SPACING_MM)
