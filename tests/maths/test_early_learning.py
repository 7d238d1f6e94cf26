"""The regulariser of early learning: values and gradients by hand."""

from __future__ import annotations

import math

import pytest
import torch

from nnunetv2_mlbseg.maths.early_learning import early_learning

PREDICTED = torch.tensor([0.7, 0.3], dtype=torch.float64).view(1, 2, 1)
EARLIER = torch.tensor([0.9, 0.1], dtype=torch.float64).view(1, 2, 1)


def test_value_by_hand() -> None:
    """0.9 * 0.7 + 0.1 * 0.3 = 0.66, ln 0.34 = -1.0788."""
    assert early_learning(PREDICTED, EARLIER).item() == pytest.approx(-1.0788, abs=1e-4)


def test_gradient_by_hand() -> None:
    """-0.7 (0.9 - 0.66) / 0.34 = -0.494 for the first logit, the opposite for the second; none for the target."""
    logits, target = PREDICTED.log().requires_grad_(), EARLIER.clone().requires_grad_()
    early_learning(logits.softmax(dim=1), target).sum().backward()
    assert logits.grad.flatten().tolist() == pytest.approx([-0.4941, 0.4941], abs=1e-4)
    assert target.grad is None


def test_the_formula_of_the_gradient_holds_for_several_classes() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 3, generator=draw, dtype=torch.float64, requires_grad=True)
    target = torch.randn(2, 4, 3, 3, generator=draw, dtype=torch.float64).softmax(dim=1)
    (found,) = torch.autograd.grad(early_learning(logits.softmax(dim=1), target).sum(), logits)
    p = logits.softmax(dim=1).detach()
    agreement = (p * target).sum(dim=1, keepdim=True)
    torch.testing.assert_close(found, -p * (target - agreement) / (1 - agreement))


def test_it_cancels_cross_entropy_towards_a_label_that_the_target_contradicts() -> None:
    """Sure of class 0, with label 1: cross-entropy pulls towards 1, the regulariser (weight 1) back as strongly."""
    logits = torch.tensor([3.0, -3.0], dtype=torch.float64).view(1, 2, 1).requires_grad_()
    p, label = logits.softmax(dim=1), torch.tensor([[1]])
    (towards,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, label), logits)
    (back,) = torch.autograd.grad(early_learning(p, torch.tensor([1.0, 0.0]).view(1, 2, 1)).sum(), logits)
    torch.testing.assert_close(towards + back, torch.zeros_like(back), atol=0.01, rtol=0)


def test_certainty_is_clipped() -> None:
    certain = torch.tensor([1.0, 0.0]).view(1, 2, 1).requires_grad_()
    found = early_learning(certain, certain)
    assert found.item() == pytest.approx(math.log(1e-4), rel=1e-2)
    found.sum().backward()
    assert torch.isfinite(certain.grad).all()
