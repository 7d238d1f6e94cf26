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
