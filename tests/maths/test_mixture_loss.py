"""The loss towards a mixture of labels against nnU-Net's own, and against soft targets written out."""

from __future__ import annotations

import pytest
import torch
from comparison_support import FACTORS, at_both_scales, stock_loss

from nnunetv2_mlbseg.maths.mixing import blended_labels
from nnunetv2_mlbseg.maths.mixture_loss import mixture_loss, resized

CLASSES = 3
DRAW = torch.Generator().manual_seed(0)
LABELS = torch.randint(CLASSES, (2, 2, 8, 8), generator=DRAW)
OTHERS = torch.randint(CLASSES, (2, 2, 8, 8), generator=DRAW)


def outputs() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    sizes = ((8, 8), (4, 4))
    return [torch.randn(2, CLASSES, *size, generator=draw, dtype=torch.float64).requires_grad_() for size in sizes]


def with_gradient(loss: torch.Tensor, logits: list[torch.Tensor]) -> list[torch.Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, logits)]


def test_a_share_of_one_is_nnunets_loss_of_the_first_label():
    """nnU-Net has minus the Dice in place of 1 - Dice; scales count 2/3 and 1/3."""
    first, second = LABELS[0].clone(), OTHERS[0]
    first[:, :3] = -1
    known = torch.where(first < 0, CLASSES, first)
    logits = outputs()
    mixture = blended_labels(first, second, torch.ones(2, dtype=torch.float64))
    ours = with_gradient(mixture_loss(logits, mixture, FACTORS) - 1, logits)
    nnunets = with_gradient(stock_loss(CLASSES)(logits, at_both_scales(known[:, None])), logits)
    for found, expected in zip(ours, nnunets, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7, check_dtype=False)


def test_a_blend_is_what_soft_targets_give():
    """Cross-entropy -sum_c t_c log p_c, a mean; Dice (2 sum t p + s) / (sum t + sum p + s) of classes 1 and 2."""
    share = torch.tensor([0.3, 0.9], dtype=torch.float64)
    found = mixture_loss(outputs()[:1], blended_labels(LABELS[0], OTHERS[0], share), [1.0])
    logits = outputs()[0]
    one_hot = [torch.nn.functional.one_hot(one, CLASSES).movedim(-1, 1).double() for one in (LABELS[0], OTHERS[0])]
    s = share.view(-1, 1, 1, 1)
    target, p = s * one_hot[0] + (1 - s) * one_hot[1], logits.softmax(1)
    entropy = -(target * logits.log_softmax(1)).sum(1).mean()
    dice = (2 * (target * p).sum((0, 2, 3)) + 1e-5) / ((target + p).sum((0, 2, 3)) + 1e-5)
    torch.testing.assert_close(found, entropy + 1 - dice[1:].mean(), rtol=1e-6, atol=0)


def test_cross_entropy_of_a_blend_is_the_blend_of_two_and_dice_is_not():
    """(2 t p) / (t + p) is not linear in t. One image, so that one share holds for all."""
    share = torch.tensor([0.4], dtype=torch.float64)
    first, second = LABELS[:, 0, None]

    def loss(at: float) -> float:
        share = torch.tensor([at], dtype=torch.float64)
        return mixture_loss([outputs()[0][:1]], blended_labels(first, second, share), [1.0]).item()

    apart = loss(float(share)) - (float(share) * loss(1.0) + (1 - float(share)) * loss(0.0))
    logits = outputs()[0][:1]
    p = logits.softmax(1)

    def dice_loss(at: float) -> float:
        t = at * torch.nn.functional.one_hot(first, 3) + (1 - at) * torch.nn.functional.one_hot(second, 3)
        t = t.movedim(-1, 1)
        return 1 - ((2 * (t * p).sum((0, 2, 3)) + 1e-5) / ((t + p).sum((0, 2, 3)) + 1e-5))[1:].mean().item()

    only_dice = dice_loss(float(share)) - (float(share) * dice_loss(1.0) + (1 - float(share)) * dice_loss(0.0))
    assert apart == pytest.approx(only_dice, abs=1e-8) and abs(apart) > 1e-4


def test_without_any_label_it_is_zero_and_has_no_gradient_of_cross_entropy():
    logits = outputs()
    none = torch.full_like(LABELS[0], -1)
    loss = mixture_loss(logits, blended_labels(none, none, torch.ones(2)), FACTORS)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, logits))


def test_labels_and_weights_are_resized_alike():
    mixture = resized(blended_labels(LABELS[0], OTHERS[0], torch.tensor([0.25, 1.0])), (4, 4))
    assert mixture.labels.shape == mixture.weights.shape == (2, 2, 4, 4)
    torch.testing.assert_close(mixture.weights.sum(1), torch.ones(2, 4, 4))
    assert torch.equal(mixture.labels[:, 0], LABELS[0][:, 1::2, 1::2])
