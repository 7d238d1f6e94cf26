"""Divergence between views: values by hand, the definition by Kullback-Leibler, derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from maths_support import NoHostReads
from torch import Tensor

from nnunetv2_mlbseg.maths.divergence import sure_divergence


def views(*probabilities: float) -> tuple[Tensor, Tensor]:
    """One pixel of two classes, with these probabilities of the first in as many views; all cover it."""
    first = torch.tensor(probabilities, dtype=torch.float64).view(-1, 1, 1, 1)
    return torch.cat([first, 1 - first], dim=2), torch.ones(len(probabilities), 1, 1, dtype=torch.bool)


def test_certain_and_opposite_views_by_hand() -> None:
    """ln 2; the mean is (1/2, 1/2), which is as sure as asked for here."""
    assert sure_divergence(*views(1.0, 0.0), certainty=0.5).item() == pytest.approx(math.log(2))
    assert sure_divergence(*views(1.0, 0.0), certainty=0.6).item() == 0
    assert sure_divergence(*views(0.3, 0.3, 0.3), certainty=0).item() == pytest.approx(0, abs=1e-12)


def drawn() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    covered = torch.rand(3, 2, 4, 4, generator=draw) < 0.6
    covered[0] = True
    return torch.randn(3, 2, 4, 4, 4, generator=draw, dtype=torch.float64).mul(2).softmax(dim=2), covered


def test_it_is_the_mean_divergence_of_the_views_from_their_mean() -> None:
    aligned, covered = drawn()
    found = []
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(4)).tolist():
        seen = [aligned[v, b, :, y, x] for v in range(3) if covered[v, b, y, x]]
        mean = sum(seen) / len(seen)
        if mean.max() >= 0.5:
            found.append(sum((p * (p / mean).log()).sum() for p in seen) / len(seen))
    assert 5 < len(found) < 32
    torch.testing.assert_close(sure_divergence(aligned, covered, 0.5), sum(found) / len(found))


def test_gradients_and_no_host_read() -> None:
    aligned, covered = drawn()
    logits = aligned.log().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sure_divergence(z.softmax(dim=2), covered, 0.0), logits)
    with NoHostReads():
        sure_divergence(aligned, covered, 0.5)
