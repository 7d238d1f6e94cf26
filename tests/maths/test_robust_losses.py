"""Losses that wrong labels pull less, against values by hand, limits and float64 derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.losses import pixel_cross_entropy
from nnunetv2_mlbseg.maths.robust_losses import (
    ROBUST,
    generalised_cross_entropy,
    robust_dice_loss,
    symmetric_cross_entropy,
)
from nnunetv2_mlbseg.maths.tensors import unchanged


def logits_of(*probabilities: float) -> Tensor:
    """One pixel with these probabilities, (1, C, 1)."""
    return torch.tensor(probabilities, dtype=torch.float64).log().view(1, -1, 1)


LABEL = torch.tensor([[1]])
SHAPE = (2, 3, 4, 5)


def drawn(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (B, C, *S) and labels, some of them ignored."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(SHAPE, generator=draw, dtype=torch.float64)
    return logits, torch.randint(-1, 3, (2, 4, 5), generator=draw)


def test_generalised_cross_entropy_by_hand() -> None:
    """p = 0.25: (1 - 0.5) / 0.5 = 1 for q = 0.5, and 1 - p for q = 1."""
    logits = logits_of(0.75, 0.25)
    assert generalised_cross_entropy(logits, LABEL, 0.5).item() == pytest.approx(1)
    assert generalised_cross_entropy(logits, LABEL, 1.0).item() == pytest.approx(0.75)


def test_generalised_cross_entropy_tends_to_cross_entropy() -> None:
    logits, labels = drawn()
    expected = pixel_cross_entropy(logits, labels)
    torch.testing.assert_close(generalised_cross_entropy(logits, labels, 1e-7), expected, rtol=1e-5, atol=0)


def test_its_gradient_is_that_of_cross_entropy_times_a_power_of_the_probability() -> None:
    logits, labels = (tensor[:1, ..., :1, :1] for tensor in drawn(4))
    labels = labels.clamp_min(0)
    logits.requires_grad_()
    (plain,) = torch.autograd.grad(pixel_cross_entropy(logits, labels).sum(), logits)
    (robust,) = torch.autograd.grad(generalised_cross_entropy(logits, labels, 0.7).sum(), logits)
    p = logits.softmax(dim=1).gather(1, labels.unsqueeze(1))
    torch.testing.assert_close(robust, plain * p**0.7)


def test_symmetric_cross_entropy_by_hand() -> None:
    """0.1 * ln 4 + 1 * 4 * 0.75; the reverse part to the letter is -sum_c p_c log y_c with log 0 = -4."""
    logits = logits_of(0.75, 0.25)
    assert symmetric_cross_entropy(logits, LABEL, 0.1, 1.0).item() == pytest.approx(0.1 * math.log(4) + 3)
    reverse = -sum(p * log for p, log in zip((0.75, 0.25), (-4.0, 0.0), strict=True))
    assert symmetric_cross_entropy(logits, LABEL, 0.0, 1.0).item() == pytest.approx(reverse)


def test_noise_robust_dice_by_hand() -> None:
    """p = (0.75, 0.25), y = (1, 0): (0.25^1.5 + 0.25^1.5) / (1 + 1) = 0.125."""
    probabilities = torch.tensor([[[0.25, 0.75], [0.75, 0.25]]], dtype=torch.float64)
    loss = robust_dice_loss(probabilities, torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx(0.125, rel=1e-5)


def test_exponent_1_is_one_less_dice() -> None:
    logits, labels = drawn()
    p, known = logits.softmax(dim=1), labels >= 0
    y = torch.nn.functional.one_hot(labels.clamp_min(0), 3).movedim(-1, 1)
    dice = [2 * (p * y)[:, c][known].sum() / (p + y)[:, c][known].sum() for c in (1, 2)]
    torch.testing.assert_close(robust_dice_loss(p, labels, 1.0), 1 - sum(dice) / 2, rtol=1e-5, atol=0)


def test_a_class_that_nobody_sees_costs_nothing() -> None:
    background = torch.tensor([[1.0, 0.0, 0.0]]).view(1, 3, 1).expand(1, 3, 4)
    assert robust_dice_loss(background, torch.zeros(1, 4, dtype=torch.int64)).item() == 0


def _losses(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    return {
        "gce": generalised_cross_entropy(logits, labels, 0.7).sum(),
        "sce": symmetric_cross_entropy(logits, labels, 0.1, 1.0).sum(),
        "dice": robust_dice_loss(logits.softmax(dim=1), labels),
    }


@pytest.mark.parametrize("name", ["gce", "sce", "dice"])
def test_gradients_are_right_and_ignored_pixels_have_none(name: str) -> None:
    logits, labels = drawn(1)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: _losses(z, labels)[name], logits)
    (gradient,) = torch.autograd.grad(_losses(logits, labels)[name], logits)
    ignored = (labels < 0).unsqueeze(1).expand(SHAPE)
    assert (gradient[ignored] == 0).all() and (gradient[~ignored] != 0).any()


@pytest.mark.parametrize("name", ["gce", "sce", "dice"])
def test_half_precision_and_certainty_stay_finite(name: str) -> None:
    logits = torch.tensor([[60.0, -60.0], [-60.0, 60.0]], dtype=torch.float16).unsqueeze(0).requires_grad_()
    loss = _losses(logits, torch.tensor([[1, 1]]))[name]
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()


def test_losses_by_name_have_a_part_of_pixels_and_noise_robust_dice() -> None:
    """The mean is over the pixels that have a label."""
    logits, labels = drawn()
    dice, known = robust_dice_loss(logits.softmax(dim=1), labels), labels >= 0
    parts = {
        "gce": generalised_cross_entropy(logits, labels, 0.7),
        "sce": symmetric_cross_entropy(logits, labels, 0.1, 1.0),
        "robust_dice": pixel_cross_entropy(logits, labels),
    }
    for name, pixels in parts.items():
        torch.testing.assert_close(ROBUST[name](logits, labels, unchanged), pixels[known].mean() + dice)
