"""How well a network fits its labels over time, and when it has learned what they have in common (ADELE).

Numbers on the host, once an epoch; no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

FEWEST_POINTS = 8
"""Three parameters through fewer points follow their noise."""


@dataclass(frozen=True)
class LearningCurve:
    """a (1 - exp(-t^b / c)) (Liu et al., CVPR 2022, Eq. 2): steep as long as labels are learned, then flat."""

    a: float
    b: float
    c: float

    def value(self, times: np.ndarray) -> np.ndarray:
        """The fit at times above 0."""
        return _curve(times, self.a, self.b, self.c)

    def slope(self, time: float) -> float:
        """The derivative at a time above 0."""
        grown = time**self.b
        return float(self.a * self.b / self.c * grown / time * np.exp(-grown / self.c))

    def change(self, time: float) -> float:
        """How far the slope has fallen since time 1, relative to what it was: 0 at first, 1 on a plateau."""
        begun = self.slope(1.0)
        return 0.0 if begun <= 0 else (begun - self.slope(time)) / begun


def _curve(times: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    return a * -np.expm1(-(times**b) / c)


def fitted(values: Sequence[float]) -> LearningCurve | None:
    """The curve through values at times 1, 2, ... by least squares; NaN is left out.

    Returns:
        None for fewer than 8 values, or where no curve is found.
    """
    found = np.asarray(values, dtype=np.float64)
    known = np.isfinite(found)
    if known.sum() < FEWEST_POINTS:
        return None
    times = np.flatnonzero(known) + 1.0
    begin = (max(float(found[known].max()), 1e-3), 1.0, 1.0)
    try:
        bounds = ([0, 1e-3, 1e-3], [1 + 1e-6, 10, 1e6])
        best, _ = curve_fit(_curve, times, found[known], p0=begin, bounds=bounds, max_nfev=10_000)
    except (RuntimeError, OptimizeWarning):  # no minimum within so many trials
        return None
    return LearningCurve(*map(float, best))


def has_slowed(values: Sequence[float], change: float) -> bool:
    """Whether the curve through the values has lost this share of its first slope by now."""
    curve = fitted(values)
    return curve is not None and curve.change(float(len(values))) > change
