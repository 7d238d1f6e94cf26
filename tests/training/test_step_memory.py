"""The peak memory of a step on a GPU, beside that of nnU-Net's own; counted, since there is none."""

from __future__ import annotations

import pytest
import torch
from counted_steps import made_up, our_peak, stock_peak
from method_support import drawn_batch, mlbseg_step, take_guarded_step

from nnunetv2_mlbseg.training import passes as passes_module

SIZES = ((32, 64, 128), 80, 10)
"""Features, pixels and images. Parameters take 4 to 6 % of the memory, as they do in nnU-Net's plans for 256 x 256."""
MOST = 1.10


def test_bytes_are_counted_while_they_live():
    with made_up() as live:
        first = torch.zeros(1000)
        second = first.view(10, 100) + 1
        assert live.now == 8000
        del first
        assert live.now == 4000 and live.peak == 8000
        assert second.sum().shape == () and live.peak == 8000


@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_a_step_takes_hardly_more_memory_than_nnunets_own(kind, weighting):
    """The teacher and the gradient of the clean batch are what it has to hold beside the activations."""
    assert our_peak(kind, *SIZES, weighting=weighting) <= MOST * stock_peak(kind, *SIZES)


def test_derivatives_of_all_images_at_once_would_take_more(monkeypatch):
    monkeypatch.setattr(passes_module, "TANGENT_PARTS", 1)
    assert our_peak("plain", *SIZES, weighting="meta") > 1.3 * stock_peak("plain", *SIZES)


@pytest.mark.parametrize("network", ["forward mode", "replayed"])
def test_no_gradient_lives_on_after_its_step(network):
    learning = mlbseg_step(network)
    take_guarded_step(learning, drawn_batch())
    assert all(parameter.grad is None for parameter in learning.student.parameters())
