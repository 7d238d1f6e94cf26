"""Thresholds of entropy by hand, and means of maps."""

from __future__ import annotations

import math

import pytest
import torch

from nnunetv2_mlbseg.maths.entropy import entropy
from nnunetv2_mlbseg.maths.schedules import ramp_up
from nnunetv2_mlbseg.maths.uncertainty import entropy_threshold, mean_of, squared_distance


def test_the_threshold_by_hand():
    """At the start r = exp(-5): 0.521 nats. (0.9, 0.1) has 0.325, always in; (0.6, 0.4) has 0.673, in at the end."""
    first, last = entropy_threshold(ramp_up(0, 100)), entropy_threshold(ramp_up(100, 100))
    assert first == pytest.approx(0.521, abs=5e-4) and last == pytest.approx(math.log(2))
    sure, unsure = entropy(torch.tensor([[[0.9, 0.6], [0.1, 0.4]]]))[0].tolist()
    assert sure == pytest.approx(0.325, abs=5e-4) and unsure == pytest.approx(0.673, abs=5e-4)
    assert sure < first < unsure < last


def test_a_coin_toss_between_two_of_four_classes_does_not_count_at_the_start():
    toss = entropy(torch.tensor([[[0.5], [0.5], [0.0], [0.0]]])).item()
    assert entropy_threshold(0.0) < toss < 0.75 * math.log(4)


def test_the_mean_of_maps_leaves_them_as_they_are():
    maps = [torch.full((2, 2), float(value)) for value in (1, 2, 6)]
    assert (mean_of(iter(maps)) == 3).all() and (maps[0] == 1).all()
    assert torch.equal(mean_of(maps[:1]), maps[0])


def test_squared_distance_is_a_mean_over_channels_and_the_second_gets_no_gradient():
    first, second = (torch.rand(1, 3, 2, requires_grad=True) for _ in range(2))
    found = squared_distance(first, second)
    torch.testing.assert_close(found, torch.nn.functional.mse_loss(first, second, reduction="none").mean(1))
    found.sum().backward()
    assert (first.grad != 0).all() and second.grad is None
