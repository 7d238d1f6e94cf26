"""The search on curves whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise_synthesis.calibration.search import TOLERANCE, DiceCurve, TargetOutOfReach, calibrate
from noise_synthesis.safe_io.errors import InputError


def fall(strength: float) -> float:
    return math.exp(-strength / 10)


@pytest.mark.parametrize("target", [0.05, 0.4148, 0.6206, 0.8031, 0.99])
def test_finds_the_strength_on_a_smooth_curve(target: float) -> None:
    strength = calibrate(DiceCurve(fall), target, limit_mm=100)
    assert fall(strength) == pytest.approx(target, abs=0.001)
    assert strength == pytest.approx(-10 * math.log(target), abs=0.15)


@given(target=st.floats(0.15, 0.95), phase=st.floats(0, 6), pace=st.floats(0.5, 3))
@settings(max_examples=80, deadline=None)
def test_copes_with_a_curve_that_rises_now_and_then(target: float, phase: float, pace: float) -> None:
    def wavy(strength: float) -> float:
        return fall(strength) * (1 + 0.04 * math.sin(pace * strength + phase) * min(strength, 1))

    assert abs(wavy(calibrate(DiceCurve(wavy), target, limit_mm=100)) - target) <= TOLERANCE


@given(target=st.floats(0.15, 0.95), bias=st.floats(0.6, 1.6))
@settings(max_examples=80, deadline=None)
def test_a_part_of_the_cases_may_be_easier_or_harder_than_the_whole(target: float, bias: float) -> None:
    full, coarse = DiceCurve(fall), DiceCurve(lambda strength: fall(strength * bias))
    strength = calibrate(full, target, limit_mm=100, coarse=coarse)
    assert abs(fall(strength) - target) <= TOLERANCE
    assert len(full.known) <= 20


def test_the_whole_set_is_measured_but_a_few_times_when_the_part_is_alike() -> None:
    full = DiceCurve(fall)
    calibrate(full, 0.6206, limit_mm=100, coarse=DiceCurve(lambda strength: fall(strength) + 0.01))
    assert len(full.known) - 1 <= 4


def test_a_part_that_cannot_reach_the_target_does_not_mislead() -> None:
    coarse = DiceCurve(lambda strength: max(fall(strength), 0.7))
    strength = calibrate(DiceCurve(fall), 0.5, limit_mm=100, coarse=coarse)
    assert fall(strength) == pytest.approx(0.5, abs=TOLERANCE)


def floor(strength: float) -> float:
    return max(fall(strength), 0.55)


@pytest.mark.parametrize("coarse", [None, fall])
def test_a_target_below_the_lowest_dice_is_an_error_that_says_what_can_be_reached(
    coarse: Callable[[float], float] | None,
) -> None:
    part = None if coarse is None else DiceCurve(coarse)
    with pytest.raises(TargetOutOfReach) as caught:
        calibrate(DiceCurve(floor), 0.4148, limit_mm=100, coarse=part, what="recipe x")
    assert str(caught.value) == "target Dice 0.4148: recipe x reaches 0.5500 to 1 on these cases, no lower"
    assert caught.value.nearest == 0.55
    assert isinstance(caught.value, InputError)


def test_a_gap_in_the_curve_is_an_error_that_names_the_nearest_dice() -> None:
    def stairs(strength: float) -> float:
        return 1 - 0.1 * math.floor(strength)

    with pytest.raises(TargetOutOfReach, match=r"0\.6600: this noise reaches 0\.7000 at the nearest on these cases"):
        calibrate(DiceCurve(stairs), 0.66, limit_mm=10)


@pytest.mark.parametrize("target", [0.0, 1.0, -1.0, math.nan])
def test_a_target_that_is_no_dice_is_refused(target: float) -> None:
    with pytest.raises(InputError, match="expected a number between 0 and 1"):
        calibrate(DiceCurve(fall), target, limit_mm=100)
