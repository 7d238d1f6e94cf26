"""The weight of a term and the memory of the teacher, over the length of a training."""

from __future__ import annotations

import math

import pytest

from nnunetv2_mlbseg.maths.schedules import ema_decay_at, ramp_up


@pytest.mark.parametrize(
    ("iteration", "length", "part"),
    [
        (0, 100, math.exp(-5)),
        (50, 100, math.exp(-1.25)),
        (99, 100, math.exp(-0.0005)),
        (100, 100, 1),
        (5000, 100, 1),
        (0, 0, 1),
        (7, 0, 1),
    ],
)
def test_a_ramp_up_is_the_published_one(iteration: int, length: int, part: float) -> None:
    assert ramp_up(iteration, length) == pytest.approx(part, rel=1e-12)


def test_the_decay_rises_to_its_limit() -> None:
    """1 - 1/1, 1 - 1/2, 1 - 1/3, ... capped; at 0.99 the cap is reached after step 99."""
    assert [ema_decay_at(step, 0.99) for step in range(4)] == [0.0, 0.5, pytest.approx(2 / 3), 0.75]
    assert ema_decay_at(98, 0.99) < 0.99
    assert ema_decay_at(100, 0.99) == 0.99
    assert ema_decay_at(10**9, 0.99) == 0.99
