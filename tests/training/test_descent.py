"""Gradients and the optimiser's step, by hand; the gradient scaler of CUDA runs on the CPU here."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.training.descent import Descent

SCALE = 1024.0


def _descent(scaled: bool, rate: float = 0.5) -> tuple[Descent, nn.Parameter, nn.Parameter]:
    """Two parameters at (3, 4) and at 7; the losses below depend on the first alone."""
    used, unused = nn.Parameter(torch.tensor([3.0, 4.0])), nn.Parameter(torch.tensor([7.0]))
    optimizer = torch.optim.SGD([used, unused], rate)
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE) if scaled else None
    return Descent([used, unused], optimizer, scaler, Processes()), used, unused


@pytest.mark.parametrize("scaled", [False, True])
def test_a_gradient_carries_the_scale_until_it_is_taken_out(scaled):
    descent, used, _ = _descent(scaled)
    gradient = descent.gradient((used**2).sum())
    factor = SCALE if scaled else 1.0
    assert gradient[0].tolist() == [6 * factor, 8 * factor] and gradient[1] is None
    plain = descent.unscaled(gradient)
    assert plain[0].tolist() == [6, 8] and plain[1] is None
    assert used.grad is None, "nothing is left in the parameters"


def test_what_overflowed_becomes_zero():
    descent, used, _ = _descent(scaled=True)
    with_overflow = descent.gradient((used * torch.tensor([math.inf, 2.0])).sum())
    assert descent.unscaled(with_overflow)[0].tolist() == [0, 2]


@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_adds_what_has_begun_and_clips_the_sum(scaled):
    """The sum is 2 (6, 8) + (6, 8) = (18, 24) of norm 30; clipped to 5 it is (3, 4)."""
    for clip, expected in ((100.0, [3 - 0.5 * 18, 4 - 0.5 * 24]), (5.0, [3 - 0.5 * 3, 4 - 0.5 * 4])):
        descent, used, unused = _descent(scaled)
        begun = descent.gradient(2 * (used**2).sum())
        descent.step((used**2).sum(), clip, begun)
        assert used.tolist() == pytest.approx(expected, abs=1e-5)
        assert unused.item() == 7 and unused.grad is None


@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_from_nothing_forgets_earlier_gradients(scaled):
    descent, used, _ = _descent(scaled)
    used.grad = torch.full((2,), 100.0)
    descent.step((used**2).sum(), clip=100.0)
    assert used.tolist() == [0, 0]


def test_the_scaler_leaves_out_a_step_that_overflows_and_lowers_its_factor():
    descent, used, _ = _descent(scaled=True)
    descent.step((used * math.inf).sum(), clip=1.0)
    assert used.tolist() == [3, 4]
    assert descent.grad_scaler.get_scale() == SCALE / 2


def test_the_learning_rate_is_the_optimisers_present_one():
    descent, _, _ = _descent(scaled=False)
    descent.optimizer.param_groups[0]["lr"] = 0.125
    assert descent.learning_rate == 0.125
