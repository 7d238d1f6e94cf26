"""Draws of a step: by seed and purpose, other ones in every process, one batch's however many share it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from comparison_support import COMPARED

from nnunetv2_mlbseg.methods.shared.draws import beta, disturbed, normal, uniform
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.runtime.random_state import Generators

CPU = torch.device("cpu")
SHAPE = (2, 1, 8, 8)


@pytest.fixture
def passes():
    return COMPARED["MeanTeacher"].begin().passes


def of_process(passes, rank: int, count: int):
    return replace(passes, processes=Processes(rank, count), generators=Generators(3, CPU))


@pytest.mark.parametrize("draw", [normal, uniform])
def test_processes_draw_together_what_one_would(passes, draw):
    whole = draw(of_process(passes, 0, 1), (4, *SHAPE[1:]), "noise")
    halves = [draw(of_process(passes, rank, 2), SHAPE, "noise") for rank in range(2)]
    assert torch.equal(torch.cat(halves), whole)
    assert not torch.equal(draw(of_process(passes, 0, 1), (4, *SHAPE[1:]), "other"), whole)


@pytest.mark.parametrize("draw", [normal, uniform])
def test_of_an_uneven_batch_every_process_draws_all_and_takes_its_rows(passes, draw):
    """Three images for two processes: what one would draw, and generators that go on alike."""
    whole = draw(of_process(passes, 0, 1), (3, *SHAPE[1:]), "noise")
    both = [replace(of_process(passes, rank, 2), images=3) for rank in range(2)]
    parts = [draw(own, (count, *SHAPE[1:]), "noise") for own, count in zip(both, (2, 1), strict=True)]
    assert torch.equal(torch.cat(parts), whole)
    states = [own.generators.on_device("noise").get_state() for own in both]
    assert torch.equal(*states)


def test_noise_is_cut_off_at_twice_its_deviation(passes):
    images = torch.zeros(4, 1, 64, 64)
    noise = disturbed(passes, images, 0.1)
    assert noise.abs().max() == pytest.approx(0.2) and noise.std() == pytest.approx(0.1, rel=0.1)
    assert not torch.equal(disturbed(passes, images, 0.1), noise)


def test_shares_of_blends_have_mean_and_variance_of_their_distribution(passes):
    """Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)); even for a = 1."""
    for alpha in (0.5, 1.0, 4.0):
        shares = beta(passes, 20_000, alpha, "blends")
        assert ((shares >= 0) & (shares <= 1)).all()
        assert shares.mean() == pytest.approx(0.5, abs=0.01)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)
