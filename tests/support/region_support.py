"""Regions for tests: nnU-Net's loss and targets of them, nested discs, and one region told as two classes."""

from __future__ import annotations

from typing import Any

import torch
from method_support import learning_of
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn

from nnunetv2_mlbseg.cases.training_cases import METHOD
from nnunetv2_mlbseg.maths.labels import resize_labels
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.plain import Plain
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.task import Task

IGNORE_LABEL = 3
SCALES = (2 / 3, 1 / 3, 0.0)


def dice_and_bce(ignore: bool, batch_dice: bool = True) -> DC_and_BCE_loss:
    """As nnU-Net builds it."""
    dice = {"batch_dice": batch_dice, "do_bg": True, "smooth": 1e-5, "ddp": False}
    return DC_and_BCE_loss({}, dice, use_ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss)


def dice_and_ce(ignore_label: int | None) -> DC_and_CE_loss:
    """As nnU-Net builds it."""
    dice = {"batch_dice": True, "do_bg": False, "smooth": 1e-5, "ddp": False}
    return DC_and_CE_loss(dice, {}, ignore_label=ignore_label, dice_class=MemoryEfficientSoftDiceLoss)


class AsClasses(nn.Module):
    """A network of one region with the outputs (0, z) of two classes, and with the same parameters."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, images: Tensor) -> list[Tensor]:
        return [torch.cat([torch.zeros_like(z), z], dim=1) for z in self.inside(images)]


def region_target(masks: Tensor, ignored: Tensor | None = None) -> Tensor:
    """nnU-Net's target of masks (B, R, *S): with pixels without a label (B, *S) it has one more channel."""
    return masks.bool() if ignored is None else torch.cat([masks.bool(), ignored.unsqueeze(1)], dim=1)


def at_scales(target: Tensor, count: int = 2) -> list[Tensor]:
    """The target of deep supervision: each scale half as large as the one before."""
    sizes = [[size >> scale for size in target.shape[2:]] for scale in range(count)]
    return [
        resize_labels(target.flatten(0, 1).long(), size).unflatten(0, target.shape[:2]).to(target.dtype)
        for size in sizes
    ]


def learning_of_regions(
    network: nn.Module,
    regions: int,
    ignore: bool = True,
    *,
    noisy: int = 2,
    momentum: float = 0.9,
    unshown: tuple[int, ...] = (),
    **settings: Any,
) -> Learning:
    """MLB-Seg, or plain training, on a deeply supervised network with an output for each region."""
    task = Task(1, 2, 2, noisy, 1, IGNORE_LABEL if ignore else None, unshown, regions=regions)
    return _learning(network, task, dice_and_bce(ignore), momentum, settings)


def learning_of_classes(network: nn.Module, *, noisy: int = 2, momentum: float = 0.9, **settings: Any) -> Learning:
    """The same on two exclusive classes."""
    task = Task(1, 2, 2, noisy, 1, IGNORE_LABEL)
    return _learning(network, task, dice_and_ce(IGNORE_LABEL), momentum, settings)


def _learning(network: nn.Module, task: Task, loss: nn.Module, momentum: float, settings: dict[str, Any]) -> Learning:
    values = {"seed": 3, "weight_decay": 0, "initial_lr": 0.05, "cpu_bfloat16": False, **settings}
    deep = DeepSupervisionWrapper(loss, SCALES[:2])
    method = MLBSeg if resolve(MLBSeg.Settings, values).training_labels == METHOD else Plain
    return learning_of(method, resolve(method.Settings, values), network, deep, task=task, momentum=momentum)


def nested_discs(images: int, generator: torch.Generator, size: int = 32) -> tuple[Tensor, Tensor]:
    """Images (B, 1, Y, X) of a disc with a brighter core, and the masks (B, 2, Y, X) of disc and core."""
    y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    centre = 12 + 8 * torch.rand(2, images, 1, 1, generator=generator)
    radius = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2).sqrt()
    masks = torch.stack([radius < 8, radius < 4], dim=1)
    noise = 0.5 * torch.randn(images, size, size, generator=generator)
    return (masks.sum(1).float() + noise).unsqueeze(1), masks


def grown(masks: Tensor, by: int) -> Tensor:
    """Masks (B, R, Y, X) too large by so many pixels."""
    return nn.functional.max_pool2d(masks.float(), 2 * by + 1, stride=1, padding=by) > 0
