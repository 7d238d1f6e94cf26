"""Smooth random fields, fixed in the volume: the same at a voxel whatever part of the volume is looked at."""

from __future__ import annotations

import math

import numpy as np

from noise_synthesis.safe_io.volumes import Frame

# Mean over a knot interval of the summed squared weights of the cubic B-spline: 151/315 of the knots' variance is left
# along each axis.
_VARIANCE_PER_AXIS = 151 / 315


def smooth_noise(rng: np.random.Generator, knot_distance_mm: float, shape: tuple[int, ...], frame: Frame) -> np.ndarray:
    """Return a smooth random field with mean 0 and variance 1 on an array of ``shape`` (z, y, x) at ``frame``.

    Independent normal numbers at knots ``knot_distance_mm`` apart over the whole volume are joined by a cubic B-spline,
    so the field is twice differentiable and changes over about that distance. With ``frame.per_slice`` every slice
    has its own knots and is independent of its neighbours. Outside the volume the outermost knots go on.
    """
    first_axis = 1 if frame.per_slice else 0
    knots = [
        math.ceil(frame.volume_shape[axis] * frame.spacing_mm[axis] / knot_distance_mm) + 3
        for axis in range(first_axis, 3)
    ]
    if frame.per_slice:
        knots.insert(0, frame.volume_shape[0])
    field = rng.standard_normal(knots)
    if frame.per_slice:
        field = field[frame.start[0] : frame.start[0] + shape[0]]
    for axis in range(first_axis, 3):
        positions = (frame.start[axis] + np.arange(shape[axis])) * frame.spacing_mm[axis] / knot_distance_mm
        field = _spline_along(field, positions, axis)
    return (field / math.sqrt(_VARIANCE_PER_AXIS ** (3 - first_axis))).astype(np.float32)


def _spline_along(field: np.ndarray, positions: np.ndarray, axis: int) -> np.ndarray:
    """Evaluate the uniform cubic B-spline with coefficients ``field`` along one axis, at positions counted in knots."""
    left = np.floor(positions).astype(int)
    t = positions - left
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    column = [1, 1, 1]
    column[axis] = -1
    return sum(
        np.take(field, left + offset, axis=axis, mode="clip") * (weight / 6).reshape(column)
        for offset, weight in enumerate(weights)
    )
