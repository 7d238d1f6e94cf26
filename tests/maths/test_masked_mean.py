"""Means over some pixels, by hand."""

from __future__ import annotations

import torch
from maths_support import NoHostReads, in_two_processes

from nnunetv2_mlbseg.maths.masked_mean import mean_where


def test_only_pixels_that_count_do() -> None:
    values = torch.tensor([1.0, 3.0, 100.0], requires_grad=True)
    with NoHostReads():
        found = mean_where(torch.tensor([True, True, False]), values)
    found.backward()
    assert found.item() == 2 and values.grad is not None and values.grad.tolist() == [0.5, 0.5, 0]


def test_none_is_0_and_two_processes_have_shares_of_the_mean() -> None:
    assert mean_where(torch.zeros(3, dtype=torch.bool), torch.ones(3)).item() == 0
    counted, values = torch.tensor([[True, False], [True, True]]), torch.tensor([[6.0, 9.0], [2.0, 1.0]])
    shares = in_two_processes(lambda half, total: mean_where(counted[half], values[half], total))
    assert [share.item() for share in shares] == [2, 1]


def test_the_mean_over_what_counts() -> None:
    values = torch.tensor([[1.0, 2.0, 6.0]], requires_grad=True)
    counted = torch.tensor([[True, False, True]])
    found = mean_where(counted, values)
    assert found.item() == 3.5
    (gradient,) = torch.autograd.grad(found, values)
    assert gradient.tolist() == [[0.5, 0.0, 0.5]]
    none = mean_where(torch.zeros_like(counted), values)
    assert none.item() == 0 and torch.autograd.grad(none, values)[0].tolist() == [[0, 0, 0]]


def test_a_value_that_does_not_count_cannot_disturb() -> None:
    values = torch.tensor([[1.0, float("nan")]], requires_grad=True)
    found = mean_where(torch.tensor([[True, False]]), values)
    assert found.item() == 1 and torch.autograd.grad(found, values)[0].tolist() == [[1, 0]]


def test_the_shares_of_two_processes_add_up() -> None:
    values, counted = torch.rand(2, 5), torch.tensor([[True] * 4 + [False], [True] + [False] * 4])
    shares = [mean_where(counted[i], values[i], lambda _: torch.tensor(5.0)) for i in range(2)]
    torch.testing.assert_close(sum(shares), mean_where(counted, values))
