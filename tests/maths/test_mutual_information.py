"""Mutual information of cluster assignments, against values by hand, scikit-learn, a loop and derivatives."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from maths_support import NoHostReads
from sklearn.metrics import mutual_info_score
from torch import Tensor

from nnunetv2_mlbseg.maths.mutual_information import information_loss, joint, mutual_information


def one_hot(clusters: Tensor, count: int) -> Tensor:
    """(B, *S) to (B, 1, K, *S)."""
    return torch.nn.functional.one_hot(clusters, count).movedim(-1, 1).unsqueeze(1).double()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Assignments (B, H, K, *S)."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(dim=2)


def test_balanced_equal_assignments_share_all_they_have() -> None:
    clusters = one_hot(torch.tensor([[0, 1, 0, 1]]), 2)
    assert information_loss(clusters, clusters).item() == pytest.approx(-math.log(2))


def test_independent_assignments_share_nothing() -> None:
    first, second = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 0, 1]])
    assert information_loss(one_hot(first, 2), one_hot(second, 2)).item() == pytest.approx(0, abs=1e-12)


def test_against_scikit_learn() -> None:
    """Of hard assignments, both ways round: the joint here is symmetrised."""
    draw = torch.Generator().manual_seed(1)
    first = torch.randint(4, (2, 50), generator=draw)
    second = torch.where(torch.rand(2, 50, generator=draw) < 0.3, torch.randint(4, (2, 50), generator=draw), first)
    ours = information_loss(one_hot(first, 4), one_hot(second, 4))
    both = [torch.cat(pair).flatten().numpy() for pair in ((first, second), (second, first))]
    assert ours.item() == pytest.approx(-mutual_info_score(*both))


def test_names_of_clusters_do_not_matter() -> None:
    first, second = drawn(3, 2, 5, 4, 4), drawn(3, 2, 5, 4, 4, seed=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    found = information_loss(first[:, :, order], second[:, :, order])
    torch.testing.assert_close(found, information_loss(first, second))


def test_a_joint_is_symmetric_and_adds_up_to_1() -> None:
    found = joint(drawn(2, 3, 4, 5), drawn(2, 3, 4, 5, seed=1))
    torch.testing.assert_close(found, found.transpose(1, 2))
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 3)])
def test_displacements_against_a_loop(shape: tuple[int, ...]) -> None:
    first, second = drawn(2, 1, 3, *shape), drawn(2, 1, 3, *shape, seed=1)
    found = []
    for by in product((-1, 0, 1), repeat=len(shape)):
        met = torch.zeros(3, 3, dtype=torch.float64)
        for position in product(*map(range, shape)):
            other = tuple(p - d for p, d in zip(position, by, strict=True))
            if all(0 <= o < size for o, size in zip(other, shape, strict=True)):
                pairs = [(a[0][(..., *position)], b[0][(..., *other)]) for a, b in zip(first, second, strict=True)]
                met += sum(torch.outer(a, b) for a, b in pairs)
        met = (met + met.T) / 2
        found.append(mutual_information((met / met.sum()).unsqueeze(0)))
    torch.testing.assert_close(information_loss(first, second, 1), -torch.stack(found).mean())


def test_gradients_and_no_host_read() -> None:
    logits = torch.randn(2, 2, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    other = drawn(2, 2, 3, 3, 3)
    assert torch.autograd.gradcheck(lambda z: information_loss(z.softmax(dim=2), other, 1), logits)
    with NoHostReads():
        information_loss(logits.softmax(dim=2), other, 1)


def test_certain_assignments_stay_finite() -> None:
    clusters = one_hot(torch.tensor([[0, 0, 0, 0]]), 3).float().requires_grad_()
    loss = information_loss(clusters, clusters)
    loss.backward()
    assert loss.item() == pytest.approx(0) and torch.isfinite(clusters.grad).all()
