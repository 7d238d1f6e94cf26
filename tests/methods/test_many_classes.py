"""What a step makes and multiplies grows with the number of classes, not with its square."""

from __future__ import annotations

from dataclasses import replace

import torch
from maths_support import Elements, small_network
from method_support import TASK, learning_of, take_step
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch.utils.flop_counter import FlopCounterMode

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.settings.overrides import resolve

SIDE = 64


def cost_of_a_step(classes: int) -> tuple[int, int]:
    """Elements of all tensors that a step of the default settings makes, and operations in products of matrices."""
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
    settings = resolve(MLBSeg.Settings, {"seed": 0, "views": ["zoom_in"]})
    task = replace(TASK, classes=classes, ignore_label=None)
    learning = learning_of(MLBSeg, settings, small_network(classes=classes), loss, task=task)
    batch = {"imperfect_generated": torch.tensor([True, False]), "imperfect_case": torch.tensor([-1, 0])}
    for name in ("", "imperfect_"):
        batch[f"{name}data"] = torch.randn(2, 1, SIDE, SIDE)
        batch[f"{name}target"] = torch.randint(classes, (2, 1, SIDE, SIDE)).short()
    with FlopCounterMode(display=False) as counted, Elements() as elements:
        take_step(learning, batch)
    operations = counted.get_flop_counts()["Global"]
    return elements.made, sum(count for kind, count in operations.items() if "conv" not in str(kind))


def test_what_a_step_costs_more_is_in_proportion_to_classes() -> None:
    """From 16 to 64 classes are four times as many more as from 4 to 16; squares would cost 16 times as much more.

    Tables of class pairs are there, but they are small beside maps of 64 x 64 pixels.
    """
    elements, products = zip(*(cost_of_a_step(classes) for classes in (4, 16, 64)), strict=True)
    assert elements[2] - elements[1] < 5.5 * (elements[1] - elements[0])
    assert 0 < products[2] - products[1] < 5.5 * (products[1] - products[0])
