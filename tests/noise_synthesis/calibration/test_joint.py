"""The joint search on curves whose answer is known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise_synthesis.calibration.dice import Overlap
from noise_synthesis.calibration.joint import JOINT_AIM, ROUNDS, calibrate_jointly, missed


class Rounds:
    """Counts measurements of classes whose Dice falls with their own strength and with the others'."""

    def __init__(self, reach: dict[int, float], pressure: float = 0.0, floor: float = 0.0) -> None:
        self.reach, self.pressure, self.floor, self.count = reach, pressure, floor, 0

    def __call__(self, strengths: dict[int, float]) -> dict[int, Overlap]:
        self.count += 1
        shares = {value: strength / self.reach[value] for value, strength in strengths.items()}
        result = {}
        for value, own in shares.items():
            others = sum(shares.values()) - own
            dice = max(math.exp(-own * (1 + self.pressure * others / (1 + others))), self.floor)
            result[value] = Overlap(dice, dice)
        return result


@pytest.mark.parametrize("target", [0.2, 0.4148, 0.6206, 0.9])
def test_classes_without_influence_on_each_other_find_their_own_strength(target: float) -> None:
    """Dice exp(-s / reach): the strength is -reach log(target)."""
    measure = Rounds({1: 10.0, 2: 0.7, 5: 100.0})
    strengths, dice = calibrate_jointly(measure, target, {1: 100.0, 2: 20.0, 5: 600.0})
    for value, reach in measure.reach.items():
        assert strengths[value] == pytest.approx(-reach * math.log(target), rel=0.03)
        assert dice[value] == pytest.approx(target, abs=JOINT_AIM)
    assert measure.count <= 20


@given(
    reach=st.lists(st.floats(0.5, 50), min_size=2, max_size=12),
    pressure=st.floats(0, 2),
    target=st.floats(0.2, 0.9),
)
@settings(max_examples=60, deadline=None)
def test_classes_that_press_on_each_other_meet_the_target_together(
    reach: list[float], pressure: float, target: float
) -> None:
    measure = Rounds(dict(enumerate(reach, 1)), pressure)
    _, dice = calibrate_jointly(measure, target, dict.fromkeys(measure.reach, 200.0))
    assert list(dice.values()) == pytest.approx([target] * len(reach), abs=0.005)
    assert missed(dice, target) == [] and measure.count <= ROUNDS


def test_the_search_on_all_cases_begins_where_that_on_a_part_ended() -> None:
    full, part = Rounds({1: 10.0, 2: 1.0}, 1.0), Rounds({1: 11.0, 2: 0.9}, 1.0)
    calibrate_jointly(full, 0.6, {1: 100.0, 2: 100.0}, coarse=part)
    assert full.count <= 8


def test_a_class_that_cannot_fall_is_named_and_does_not_hold_up_the_others() -> None:
    class OneStays(Rounds):
        def __call__(self, strengths: dict[int, float]) -> dict[int, Overlap]:
            return {**super().__call__(strengths), 2: Overlap(0.85, 0.85)}

    measure = OneStays({1: 10.0, 2: 10.0})
    _, dice = calibrate_jointly(measure, 0.6, {1: 100.0, 2: 100.0})
    assert missed(dice, 0.6) == [2] and dice[1] == pytest.approx(0.6, abs=JOINT_AIM)
    assert measure.count < ROUNDS


def test_a_class_whose_dice_jumps_over_the_target_ends_the_search() -> None:
    class Stairs(Rounds):
        def __call__(self, strengths: dict[int, float]) -> dict[int, Overlap]:
            dice = 0.9 if strengths[2] < 13 else 0.58
            return {**super().__call__(strengths), 2: Overlap(dice, dice)}

    measure = Stairs({1: 10.0, 2: 10.0})
    _, dice = calibrate_jointly(measure, 0.7, {1: 100.0, 2: 100.0})
    assert dice[2] == 0.58 and missed(dice, 0.7) == [2]
    assert measure.count < ROUNDS


def test_no_class_is_blown_up_where_only_its_neighbours_keep_it_in_place() -> None:
    """Class 2 stays at 0.8; alone it would fall, to a quarter of the target at 11 log(4 / 0.6) = 20.9 mm."""

    class Enclosed(Rounds):
        def __call__(self, strengths: dict[int, float]) -> dict[int, Overlap]:
            return {**super().__call__(strengths), 2: Overlap(0.8, math.exp(-strengths[2] / 11))}

    strengths, _ = calibrate_jointly(Enclosed({1: 10.0, 2: 10.0}), 0.6, {1: 500.0, 2: 500.0})
    assert strengths[2] < 1.5 * 20.9
