"""Likeness of pixels against the matrices written out; windows; information by class."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg.maths.structure import class_information, likeness_distance, window


def matrices(maps: torch.Tensor) -> torch.Tensor:
    """G_mn, the cosine of the class vectors of every two pixels: (B, n, n)."""
    rows = maps.flatten(2).transpose(1, 2)
    return torch.nn.functional.cosine_similarity(rows[:, :, None], rows[:, None], dim=-1)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 2, 3, 2, 4)])
def test_it_is_the_mean_squared_difference_of_the_matrices(shape):
    p, q = (torch.randn(shape, dtype=torch.float64).softmax(1).requires_grad_() for _ in range(2))
    literal = (matrices(p) - matrices(q.detach())).square().mean(dim=(1, 2))
    found = likeness_distance(p, q)
    torch.testing.assert_close(found, literal)
    expected = torch.autograd.grad(literal.sum(), p)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), p), expected)
    assert not q.grad and torch.autograd.gradcheck(lambda one: likeness_distance(one, q), p)


def test_by_hand():
    """Two pixels, of equal classes to the one and of different ones to the other: G_12 and G_21 are 1 and 0."""
    equal, different = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert likeness_distance(equal, different).item() == pytest.approx(0.5)
    assert likeness_distance(equal, equal).item() == 0


def test_a_constant_map_has_only_ones_and_equal_maps_no_distance_in_float32():
    torch.testing.assert_close(matrices(torch.full((1, 2, 3, 3), 0.5)), torch.ones(1, 9, 9))
    p = torch.randn(2, 4, 16, 16, 16).softmax(1)
    assert likeness_distance(p, p).abs().max() < 1e-6


def test_windows_lie_from_end_to_end_and_are_no_longer_than_the_map():
    maps = torch.arange(40.0).view(1, 1, 8, 5)
    ends = [window(maps, torch.tensor([at, at]), 4)[0, 0] for at in (0.0, 0.999)]
    assert torch.equal(ends[0], maps[0, 0, :4, :4]) and torch.equal(ends[1], maps[0, 0, 4:, 1:])
    assert torch.equal(window(maps, torch.tensor([0.5, 0.5]), 16), maps)
    assert window(torch.rand(2, 3, 9, 9, 9), torch.rand(3), 4).shape == (2, 3, 4, 4, 4)


def test_information_by_class_adds_up_to_the_relative_entropy():
    p = torch.randn(2, 4, 3, 3).softmax(1)
    whole = torch.distributions.Categorical(probs=p.movedim(1, -1)).entropy() / torch.tensor(4.0).log()
    torch.testing.assert_close(class_information(p).sum(1), whole)
    certain = torch.tensor([[[1.0], [0.0]]], requires_grad=True)
    found = class_information(certain)
    assert found.tolist() == [[[0.0], [0.0]]]
    assert torch.isfinite(torch.autograd.grad(found.sum(), certain)[0]).all()
