"""Contrast of vectors, with and without self-paced weights: values by hand, a loop, float64 derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.contrast import contrast, gate_at, pace, pair_losses, parts_of, same

TWO_CLASSES = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
MARKS = torch.tensor([0, 0, 1, 1])


def drawn(count: int = 7) -> Tensor:
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_two_classes_of_two_equal_vectors() -> None:
    """Each anchor: e / (e + 1 + 1), so ln(1 + 2/e) = 0.5514."""
    loss = contrast(pair_losses(TWO_CLASSES, 1.0), same(MARKS))
    assert loss.item() == pytest.approx(math.log(1 + 2 / math.e)) and loss.item() == pytest.approx(0.5514, abs=1e-4)


def test_negatives_alone_by_hand() -> None:
    """InfoNCE held against the other class: the same here, since there is no second positive."""
    loss = contrast(pair_losses(TWO_CLASSES, 1.0, ~same(MARKS)), same(MARKS))
    assert loss.item() == pytest.approx(math.log(1 + 2 / math.e))


def test_against_a_loop() -> None:
    """Pair by pair as the papers write it, with an anchor that has no partner and one without a mark."""
    vectors, marks = drawn(), torch.tensor([0, 1, 0, 1, 1, 2, -1])
    directions = [vector / vector.norm() for vector in vectors]
    anchors = []
    for i, a in enumerate(directions):
        pairs = [j for j in range(7) if j != i and marks[j] == marks[i] and marks[i] >= 0]
        whole = sum(math.exp(float(a @ b) / 0.2) for j, b in enumerate(directions) if j != i)
        found = [-math.log(math.exp(float(a @ directions[j]) / 0.2) / whole) for j in pairs]
        anchors += [sum(found) / len(found)] if found else []
    loss = contrast(pair_losses(vectors, 0.2), same(marks))
    assert len(anchors) == 5 and loss.item() == pytest.approx(sum(anchors) / 5)


def test_negatives_against_a_loop() -> None:
    vectors, marks = drawn(), torch.tensor([0, 1, 0, 1, 1, 2, 2])
    directions = [vector / vector.norm() for vector in vectors]
    losses = pair_losses(vectors, 0.2, ~same(marks))
    for i, j in ((0, 2), (1, 4), (6, 5)):
        own = math.exp(float(directions[i] @ directions[j]) / 0.2)
        others = [math.exp(float(directions[i] @ directions[k]) / 0.2) for k in range(7) if marks[k] != marks[i]]
        assert losses[i, j].item() == pytest.approx(-math.log(own / (own + sum(others))))


def test_an_open_gate_is_plain_contrast_and_a_closed_one_is_nothing() -> None:
    losses, pairs = pair_losses(drawn(), 0.07), same(torch.tensor([0, 1, 0, 1, 1, 2, 2]))
    plain = contrast(losses, pairs)
    for how in ("soft", "hard"):
        torch.testing.assert_close(contrast(losses, pairs, pace(losses, 1e12, how)), plain)
        assert contrast(losses, pairs, pace(losses, 1e-9, how)).item() == 0


def test_weights_by_hand() -> None:
    losses = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert pace(losses, 2.0, "soft").tolist() == [1, 0.5, 0, 0]
    assert pace(losses, 2.0, "hard").tolist() == [1, 1, 1, 0]
    assert gate_at(0.25, 1.0, 21.0) == 11 and gate_at(1.0, 1.0, 21.0) == 21


def test_weights_take_no_gradient() -> None:
    """The gradient is that of the losses with weights as constants."""
    vectors = drawn().requires_grad_()
    pairs = same(torch.tensor([0, 1, 0, 1, 1, 2, 2]))

    def loss(weights: Tensor | None) -> Tensor:
        losses = pair_losses(vectors, 0.5)
        return contrast(losses, pairs, pace(losses, 4.0, "soft") if weights is None else weights)

    constant = pace(pair_losses(vectors, 0.5), 4.0, "soft").clone()
    (expected,) = torch.autograd.grad(loss(constant), vectors)
    (found,) = torch.autograd.grad(loss(None), vectors)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("negatives", [False, True])
def test_gradients(negatives: bool) -> None:
    vectors, marks = drawn().requires_grad_(), torch.tensor([0, 1, 0, 1, 1, 2, 2])
    against = ~same(marks) if negatives else None
    assert torch.autograd.gradcheck(lambda v: contrast(pair_losses(v, 0.3, against), same(marks)), vectors)


def test_nothing_to_contrast_is_zero_and_finite() -> None:
    vectors = drawn(3).requires_grad_()
    for against in (None, torch.zeros(3, 3, dtype=torch.bool)):
        loss = contrast(pair_losses(vectors, 0.07, against), torch.eye(3, dtype=torch.bool))
        (gradient,) = torch.autograd.grad(loss, vectors)
        assert loss.item() == 0 and (gradient == 0).all()


def test_parts_of_a_scan() -> None:
    positions = torch.tensor([0.0, 0.24, 0.25, 0.99, 1.0, math.nan])
    assert parts_of(positions, 4).tolist() == [0, 0, 1, 3, 3, -1]
