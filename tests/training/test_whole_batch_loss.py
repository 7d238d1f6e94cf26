"""The loss of the clean batch where nnU-Net's own would be NaN."""

from __future__ import annotations

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from region_support import dice_and_bce, region_target
from torch import nn

from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.training.whole_batch_loss import (
    AnnotatedCrossEntropy,
    cross_entropy_like,
    one_softmax_like,
    over_whole_batch,
)


def test_cross_entropy_without_an_annotated_pixel_is_zero_with_zero_gradient():
    loss = AnnotatedCrossEntropy(ignore_label=2)
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 1, 4, 4), 2))
    value.backward()
    assert float(value.detach()) == 0 and (logits.grad == 0).all()
    target = torch.randint(0, 3, (2, 1, 4, 4))
    expected = nn.functional.cross_entropy(logits, target[:, 0], ignore_index=2)
    assert torch.allclose(loss(logits, target), expected)


@pytest.mark.parametrize("ignore_label", [None, 5])
@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("do_bg", [False, True])
def test_the_loss_of_one_softmax_has_value_and_gradient_of_nnunets(batch_dice, do_bg, ignore_label):
    dice = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": do_bg, "ddp": False}
    inner = DC_and_CE_loss(dice, {}, 0.7, 1.3, ignore_label, dice_class=MemoryEfficientSoftDiceLoss)
    stock = DeepSupervisionWrapper(inner, [0.7, 0.3, 0])
    generator, highest = torch.Generator().manual_seed(0), 5 if ignore_label is None else 6
    sizes = (12, 6, 3)
    target = [torch.randint(highest, (2, 1, side, side), generator=generator).short() for side in sizes]
    found = []
    for loss in (stock, one_softmax_like(stock, ignore_label, Processes())):
        generator.manual_seed(1)
        outputs = [3 * torch.randn(2, 5, side, side, generator=generator, dtype=torch.float64) for side in sizes]
        logits = [output.requires_grad_() for output in outputs]
        value = loss(logits, target)
        found.append([value.detach(), *torch.autograd.grad(value, logits[:2])])
    for ours, nnunets in zip(*found, strict=True):
        torch.testing.assert_close(ours, nnunets, check_dtype=False, rtol=1e-5, atol=1e-7)


def test_another_loss_stays_as_it_is():
    loss = nn.CrossEntropyLoss()
    assert one_softmax_like(loss, None, Processes()) is loss


@pytest.mark.parametrize("batch_dice", [True, False])
def test_of_regions_it_is_nnunets_dice_and_binary_cross_entropy(batch_dice: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    output, masks = torch.randn(2, 3, 9, 9, generator=generator), torch.rand(2, 3, 9, 9, generator=generator) > 0.6
    own = dice_and_bce(ignore=False, batch_dice=batch_dice)
    torch.testing.assert_close(one_softmax_like(own, None, Processes())(output, masks), own(output, masks))
    binary = torch.nn.functional.binary_cross_entropy_with_logits(output, masks.float())
    torch.testing.assert_close(cross_entropy_like(own, None, Processes(), regions=True)(output, masks), binary)


def test_an_ignore_label_that_nothing_has_changes_nothing_of_regions() -> None:
    """nnU-Net's own cross-entropy is R times as large then: it divides by pixels, not by pixels and regions."""
    generator = torch.Generator().manual_seed(1)
    output, masks = torch.randn(2, 3, 9, 9, generator=generator), torch.rand(2, 3, 9, 9, generator=generator) > 0.6
    nowhere = region_target(masks, torch.zeros(2, 9, 9, dtype=torch.bool))
    without, ignoring = dice_and_bce(ignore=False), dice_and_bce(ignore=True)
    for make in (over_whole_batch, one_softmax_like):
        found = make(ignoring, 4, Processes())(output, nowhere)
        torch.testing.assert_close(found, make(without, None, Processes())(output, masks))
    binary = torch.nn.functional.binary_cross_entropy_with_logits(output, masks.float())
    torch.testing.assert_close(ignoring(output, nowhere) - without(output, masks), 2 * binary)


def test_ignored_pixels_of_regions_do_not_count() -> None:
    """Nothing of the loss, and no gradient, is left at pixels without a label."""
    generator = torch.Generator().manual_seed(2)
    output = torch.randn(2, 3, 9, 9, generator=generator, requires_grad=True)
    masks, ignored = torch.rand(2, 3, 9, 9, generator=generator) > 0.6, torch.zeros(2, 9, 9, dtype=torch.bool)
    ignored[:, 4:] = True
    own = dice_and_bce(ignore=True)
    one_softmax_like(own, 4, Processes())(output, region_target(masks, ignored)).backward()
    assert not output.grad[:, :, 4:].any() and output.grad[:, :, :4].all()
    found = cross_entropy_like(own, 4, Processes(), regions=True)(output, region_target(masks, ignored))
    known = torch.nn.functional.binary_cross_entropy_with_logits(output[:, :, :4], masks[:, :, :4].float())
    torch.testing.assert_close(found, known)
