"""Soft Dice towards the mixture of two labels: by hand, against nnU-Net's loss, its gradient, its shares."""

from __future__ import annotations

import math

import pytest
import torch
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor

from nnunetv2_mlbseg.maths.losses import IGNORE, mixture_dice_loss

ALL = torch.tensor([True, True])


def example(dtype: torch.dtype = torch.float64) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 4, generator=generator, dtype=dtype)
    labels = tuple(torch.randint(-1, 3, (2, 5, 4), generator=generator) for _ in range(2))
    weights = tuple(torch.rand(2, 5, 4, generator=generator, dtype=dtype) * (label >= 0) for label in labels)
    return logits, (labels[0], labels[1]), (weights[0], weights[1])


def test_by_hand() -> None:
    """Foreground 3/4 at two pixels. Labels 1 and 0 with weights 3 : 1, then both 1: mixture 3/4 and 1; a third pixel
    has no weight. I = 9/16 + 3/4, S = 3/4 + 3/4 + 3/4 + 1."""
    logits = torch.tensor([0.0, math.log(3)], dtype=torch.float64).view(1, 2, 1, 1).repeat(1, 1, 1, 3)
    labels = torch.tensor([[[1, 1, 1]]]), torch.tensor([[[0, 1, IGNORE]]])
    weights = torch.tensor([[[0.3, 0.1, 0.0]]]), torch.tensor([[[0.1, 0.1, 0.0]]])
    found = mixture_dice_loss(logits, labels, weights, torch.tensor([True]))
    assert float(found) == pytest.approx(1 - 2 * (9 / 16 + 3 / 4) / 3.25, abs=1e-5)


def test_two_equal_labels_give_nnunets_loss() -> None:
    logits, (label, _), _ = example(torch.float32)
    nnunets = MemoryEfficientSoftDiceLoss(lambda z: z.softmax(1), batch_dice=True, do_bg=False, smooth=1e-5, ddp=False)
    target, mask = label.clamp_min(0).unsqueeze(1), (label >= 0).unsqueeze(1)
    expected = 1 + nnunets(logits, target, mask)
    weight = torch.rand(label.shape) * (label >= 0)
    found = mixture_dice_loss(logits, (label, label), (weight, weight / 7), ALL)
    torch.testing.assert_close(found, expected)


def test_gradient_flows_into_the_logits_only() -> None:
    logits, labels, weights = example()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: mixture_dice_loss(z, labels, weights, ALL), (logits,))
    learned = tuple(weight.clone().requires_grad_() for weight in weights)
    mixture_dice_loss(logits, labels, learned, ALL).backward()
    assert all(weight.grad is None for weight in learned)


def test_images_that_do_not_count_have_no_part_and_none_at_all_no_loss() -> None:
    logits, labels, weights = example()
    first = mixture_dice_loss(logits, labels, weights, torch.tensor([True, False]))
    alone = [tuple(each[:1] for each in pair) for pair in (labels, weights)]
    torch.testing.assert_close(first, mixture_dice_loss(logits[:1], alone[0], alone[1], torch.tensor([True])))
    logits.requires_grad_()
    nothing = mixture_dice_loss(logits, labels, weights, torch.tensor([False, False]))
    nothing.backward()
    assert float(nothing) == 0 and logits.grad is not None and not logits.grad.any()


def test_shares_of_two_processes_add_up_to_value_and_gradient_of_the_whole() -> None:
    logits, labels, weights = example()
    whole = logits.clone().requires_grad_()
    value = mixture_dice_loss(whole, labels, weights, ALL)
    value.backward()
    halves = [slice(0, 1), slice(1, 2)]

    def share(rows: slice, total) -> tuple[Tensor, Tensor]:
        part = logits[rows].clone().requires_grad_()
        found = mixture_dice_loss(part, [n[rows] for n in labels], [w[rows] for w in weights], ALL[rows], total)
        found.backward()
        assert part.grad is not None
        return found.detach(), part.grad

    sums: list[Tensor] = []  # of each process alone: the first value that it would add up

    def listening(value: Tensor) -> Tensor:
        sums.append(value)
        return value

    for rows in halves:
        share(rows, listening)
    both = sums[0] + sums[2]
    shares = [share(rows, lambda value: both if value.ndim else 2 * value) for rows in halves]
    torch.testing.assert_close(shares[0][0] + shares[1][0], value.detach())
    torch.testing.assert_close(torch.cat([shares[0][1], shares[1][1]]), whole.grad)
