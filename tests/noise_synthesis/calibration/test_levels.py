"""Names of levels, and what is refused."""

from __future__ import annotations

import pytest

from noise_synthesis.calibration.levels import LEVELS, parse_level
from noise_synthesis.safe_io.errors import InputError


def test_levels_are_those_of_the_paper() -> None:
    assert LEVELS == {"L1": 0.4148, "L2": 0.6206, "L3": 0.8031}


@pytest.mark.parametrize(
    ("text", "dice"), [("L2", 0.6206), ("l3", 0.8031), (" L1 ", 0.4148), ("0.7", 0.7), (0.25, 0.25)]
)
def test_names_and_numbers_are_understood(text: str | float, dice: float) -> None:
    assert parse_level(text) == dice


@pytest.mark.parametrize("text", ["L4", "0", "1", "-0.2", "62", "nan", "inf", ""])
def test_anything_else_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(InputError, match=r"expected L1, L2, L3 or a Dice between 0 and 1"):
        parse_level(text)
