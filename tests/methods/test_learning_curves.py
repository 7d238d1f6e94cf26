"""The curve of ADELE: its own parameters found again, its slope by differences, and when there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnunetv2_mlbseg.methods.learning_curves import LearningCurve, fitted, has_slowed

KNOWN = LearningCurve(0.8, 0.7, 3.0)
TIMES = np.arange(1.0, 31.0)


def test_its_parameters_are_found_again() -> None:
    found = fitted(KNOWN.value(TIMES).tolist())
    assert (found.a, found.b, found.c) == pytest.approx((0.8, 0.7, 3.0), rel=1e-4)


def test_with_noise_and_gaps_nearly_so() -> None:
    values = KNOWN.value(TIMES) + np.random.default_rng(0).normal(0, 0.003, len(TIMES))
    values[[2, 7]] = math.nan
    found = fitted(values.tolist())
    np.testing.assert_allclose(found.value(TIMES), KNOWN.value(TIMES), atol=0.01)


def test_slope_by_hand_and_by_differences() -> None:
    """At t = 1 it is a b / c exp(-1 / c)."""
    assert KNOWN.slope(1.0) == pytest.approx(0.8 * 0.7 / 3 * math.exp(-1 / 3))
    step = 1e-6
    nearby = KNOWN.value(np.array([5 - step, 5 + step]))
    assert KNOWN.slope(5.0) == pytest.approx((nearby[1] - nearby[0]) / (2 * step), rel=1e-6)


def test_change_of_the_slope() -> None:
    """1 - exp(-t): the slope falls to e^-(t-1) of that at 1, below a tenth after 1 + ln 10 = 3.3."""
    curve = LearningCurve(1.0, 1.0, 1.0)
    assert curve.change(1.0) == 0 and curve.change(1 + math.log(10)) == pytest.approx(0.9)
    values = curve.value(TIMES[:8]).tolist()
    assert has_slowed(values, 0.9) and not has_slowed(values, 1.0)


def test_a_class_that_is_still_learned_has_not_slowed() -> None:
    assert not has_slowed(LearningCurve(0.9, 1.0, 40.0).value(TIMES[:12]).tolist(), 0.9)


def test_few_points_or_none_make_no_curve() -> None:
    assert fitted(KNOWN.value(TIMES[:7]).tolist()) is None
    assert fitted([math.nan] * 20) is None and not has_slowed([], 0.9)


def test_a_class_that_is_never_found_does_not_count_as_learned() -> None:
    assert not has_slowed([0.0] * 12, 0.9)
