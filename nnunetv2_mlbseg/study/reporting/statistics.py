"""Means over seeds, and paired differences over cases with bootstrap confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

CONFIDENCE = 0.95
RESAMPLES = 9999
RANDOM_STATE = 0  # the same report from the same scores

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """A mean paired difference over cases and its confidence interval, in the unit of the measure."""

    mean: float
    low: float
    high: float
    cases: int


def mean_and_deviation(per_seed: Values) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1) over the seeds; NaN where too few are there."""
    defined = per_seed[~np.isnan(per_seed)]
    if defined.size == 0:
        return math.nan, math.nan
    return float(defined.mean()), float(defined.std(ddof=1)) if defined.size > 1 else math.nan


def paired_difference(ours: Values, reference: Values) -> Difference:
    """Bias-corrected and accelerated bootstrap of the mean over cases of ``ours - reference``, both ``(cases,)``.

    Cases in which either is NaN are left out. Without any variation between the cases (or with one case) there is
    nothing to resample: the interval is the mean itself (or NaN).
    """
    differences = ours - reference
    differences = differences[~np.isnan(differences)]
    count = differences.size
    if count == 0:
        return Difference(math.nan, math.nan, math.nan, 0)
    mean = float(differences.mean())
    if count == 1:
        return Difference(mean, math.nan, math.nan, 1)
    if np.ptp(differences) == 0:
        return Difference(mean, mean, mean, count)
    interval = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(RANDOM_STATE),
    ).confidence_interval
    return Difference(mean, float(interval.low), float(interval.high), count)
