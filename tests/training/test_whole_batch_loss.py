"""The loss of the clean batch where nnU-Net's own would be NaN."""

from __future__ import annotations

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn

from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.training.whole_batch_loss import AnnotatedCrossEntropy, one_softmax_like


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
