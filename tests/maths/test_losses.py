"""Cross-entropy per pixel and its weighted sum; soft Dice towards the mixture of two labels."""

from __future__ import annotations

import math

import pytest
import torch
from maths_support import HALVES, NoHostReads, literal_cross_entropy
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import IGNORE, Mixture
from nnunetv2_mlbseg.maths.losses import mixture_dice_loss, pixel_cross_entropy, weighted_cross_entropy

# Softmax (1/4, 3/4) at each of four pixels, labelled 0, 1 and twice not at all.
LOGITS = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).repeat(1, 1, 2, 2)
LABELS = torch.tensor([[[0, 1], [IGNORE, -100]]])
BOTH = torch.tensor([True, True])


def example(dtype: torch.dtype = torch.float64) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 4, generator=generator, dtype=dtype)
    labels = tuple(torch.randint(-1, 3, (2, 5, 4), generator=generator) for _ in range(2))
    weights = tuple(torch.rand(2, 5, 4, generator=generator, dtype=dtype) * (label >= 0) for label in labels)
    return logits, (labels[0], labels[1]), (weights[0], weights[1])


def test_cross_entropy_by_hand() -> None:
    """-log(1/4) = log 4 and -log(3/4) = log(4/3); nothing where the label is negative."""
    expected = torch.tensor([[[math.log(4), math.log(4 / 3)], [0.0, 0.0]]])
    torch.testing.assert_close(pixel_cross_entropy(LOGITS, LABELS), expected)


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 5)])
def test_cross_entropy_equals_the_definition(shape: tuple[int, ...]) -> None:
    logits = torch.randn(2, 4, *shape, dtype=torch.float64)
    labels = torch.randint(-1, 4, (2, *shape))
    torch.testing.assert_close(pixel_cross_entropy(logits, labels), literal_cross_entropy(logits, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    logits = (100 * torch.randn(1, 3, 8, 8)).to(dtype)
    labels = torch.randint(3, (1, 8, 8))
    loss = pixel_cross_entropy(logits, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, pixel_cross_entropy(logits.float(), labels))


def test_weighted_sum_by_hand() -> None:
    """2 log 4 + 8 log(4/3); the weights 5 and 7 of ignored pixels count nothing."""
    weights = torch.tensor([[[2.0, 8.0], [5.0, 7.0]]])
    expected = 2 * math.log(4) + 8 * math.log(4 / 3)
    assert weighted_cross_entropy(LOGITS, LABELS, weights).item() == pytest.approx(expected, rel=1e-6)


def test_gradient_reaches_labelled_pixels_only_and_never_the_weights() -> None:
    logits = LOGITS.clone().requires_grad_()
    weights = torch.tensor([[[1.0, 0.0], [1.0, 1.0]]], requires_grad=True)
    weighted_cross_entropy(logits, LABELS, weights).backward()
    assert weights.grad is None
    assert logits.grad is not None
    reached = logits.grad.abs().sum(dim=1) > 0
    assert reached.tolist() == [[[True, False], [False, False]]]


def test_zero_weights_remove_the_term() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = weighted_cross_entropy(logits, LABELS, torch.zeros(1, 2, 2))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and (logits.grad == 0).all()


def test_gradcheck() -> None:
    logits = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(-1, 3, (2, 4, 3))
    weights = torch.rand(2, 4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: pixel_cross_entropy(z, labels), logits)
    assert torch.autograd.gradcheck(lambda z: weighted_cross_entropy(z, labels, weights), logits)


def test_no_value_is_read_on_the_host() -> None:
    with NoHostReads() as watched:
        weighted_cross_entropy(LOGITS, LABELS, torch.ones(1, 2, 2))
    assert watched.operations


def test_dice_by_hand() -> None:
    """Foreground 3/4 at two pixels. Labels 1 and 0 with weights 3 : 1, then both 1: mixture 3/4 and 1; a third pixel
    has no weight. I = 9/16 + 3/4, S = 3/4 + 3/4 + 3/4 + 1."""
    logits = torch.tensor([0.0, math.log(3)], dtype=torch.float64).view(1, 2, 1, 1).repeat(1, 1, 1, 3)
    labels = torch.tensor([[[1, 1, 1]]]), torch.tensor([[[0, 1, IGNORE]]])
    weights = torch.tensor([[[0.3, 0.1, 0.0]]]), torch.tensor([[[0.1, 0.1, 0.0]]])
    found = mixture_dice_loss(logits.softmax(1), Mixture.of(labels, weights), torch.tensor([True]))
    assert float(found) == pytest.approx(1 - 2 * (9 / 16 + 3 / 4) / 3.25, abs=1e-5)


def test_two_equal_labels_give_nnunets_dice_loss() -> None:
    logits, (label, _), _ = example(torch.float32)
    nnunets = MemoryEfficientSoftDiceLoss(lambda z: z.softmax(1), batch_dice=True, do_bg=False, smooth=1e-5, ddp=False)
    target, mask = label.clamp_min(0).unsqueeze(1), (label >= 0).unsqueeze(1)
    expected = 1 + nnunets(logits, target, mask)
    weight = torch.rand(label.shape) * (label >= 0)
    found = mixture_dice_loss(logits.softmax(1), Mixture.of((label, label), (weight, weight / 7)), BOTH)
    torch.testing.assert_close(found, expected)


def test_the_gradient_of_dice_flows_into_the_logits_only() -> None:
    logits, labels, weights = example()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: mixture_dice_loss(z.softmax(1), Mixture.of(labels, weights), BOTH), (logits,)
    )
    learned = tuple(weight.clone().requires_grad_() for weight in weights)
    mixture_dice_loss(logits.softmax(1), Mixture.of(labels, learned), BOTH).backward()
    assert all(weight.grad is None for weight in learned)


def test_images_that_do_not_count_have_no_part_in_dice_and_none_at_all_no_loss() -> None:
    logits, labels, weights = example()
    first = mixture_dice_loss(logits.softmax(1), Mixture.of(labels, weights), torch.tensor([True, False]))
    alone = [tuple(each[:1] for each in pair) for pair in (labels, weights)]
    torch.testing.assert_close(
        first, mixture_dice_loss(logits[:1].softmax(1), Mixture.of(*alone), torch.tensor([True]))
    )
    logits.requires_grad_()
    nothing = mixture_dice_loss(logits.softmax(1), Mixture.of(labels, weights), torch.tensor([False, False]))
    nothing.backward()
    assert float(nothing.detach()) == 0 and logits.grad is not None and not logits.grad.any()


def test_dice_shares_of_two_processes_add_up_to_value_and_gradient_of_the_whole() -> None:
    logits, labels, weights = example()
    whole = logits.clone().requires_grad_()
    value = mixture_dice_loss(whole.softmax(1), Mixture.of(labels, weights), BOTH)
    value.backward()

    def share(rows: slice, total) -> tuple[Tensor, Tensor]:
        part = logits[rows].clone().requires_grad_()
        found = mixture_dice_loss(
            part.softmax(1), Mixture.of([n[rows] for n in labels], [w[rows] for w in weights]), BOTH[rows], total
        )
        found.backward()
        assert part.grad is not None
        return found.detach(), part.grad

    sums: list[Tensor] = []  # of each process alone: the first value that it would add up

    def listening(value: Tensor) -> Tensor:
        sums.append(value)
        return value

    for rows in HALVES:
        share(rows, listening)
    both = sums[0] + sums[2]
    shares = [share(rows, lambda value: both if value.ndim else 2 * value) for rows in HALVES]
    torch.testing.assert_close(shares[0][0] + shares[1][0], value.detach())
    torch.testing.assert_close(torch.cat([shares[0][1], shares[1][1]]), whole.grad)
