"""Every comparison method, found by its trainer, as small trainings train it: what shared tests run on.

A new method is tested as soon as its trainer is listed. It needs a line here only where it is an exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from maths_support import small_network
from method_support import ALONE, learning_of
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn

from nnunetv2_mlbseg.methods.comparison import Comparison
from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.task import Task
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod
from nnunetv2_mlbseg.training.whole_batch_loss import over_whole_batch

SIZES = {2: (16, 16), 3: (8, 8, 8)}
FACTORS = (2 / 3, 1 / 3)
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "UAMT": {"threshold_start": 2.0, "threshold_end": 2.0},  # a network that has learned nothing is nowhere sure
}
"""Method -> settings that make it small, or fit for a network and images that are."""
OFF: Mapping[str, Mapping[str, Any]] = {"BCP": {"box_share": 0.0}, "SDCL": {"box_share": 0.0}}
"""Method -> settings beside the weights that leave nnU-Net's own training: images are those that were drawn."""
NOT_PLAIN_WITHOUT_WEIGHTS: Mapping[str, str] = {
    "Contrastive": "its steps read no label; those after them are nnU-Net's own",
    "DivideMix": "it learns from blends of clean and noisy images",
}
"""Method -> why it is not nnU-Net's own training when all keys that end in ``_weight`` are 0."""

OWN_DRAWS: Mapping[str, str] = {
    "MixUp": "images are blended with images of the same process",
    "LGERMT": "every process has windows of its own",
    "BCP": "images are pasted into images of the same process, in boxes of its own",
    "SDCL": "images are pasted into images of the same process, in boxes of its own",
    "UniMatch": "every process has strong views of its own",
    "FixMatch": "every process has strong views of its own",
}
"""Method -> why two processes do not make the very step that one makes."""


@dataclass(frozen=True)
class Compared:
    """A comparison method as it is trained here."""

    trainer: type[nnUNetTrainerMethod]

    @property
    def method(self) -> type[Comparison]:
        found: Any = self.trainer.method
        return found

    @property
    def name(self) -> str:
        return self.trainer.__name__.removeprefix("nnUNetTrainer")

    @property
    def weights(self) -> list[str]:
        """The keys of its factors."""
        return [key for key in self.method.Settings.model_fields if key.endswith("_weight")]

    def settings(self, **changes: Any) -> Any:
        values = {"seed": 3, "initial_lr": 0.05, **SETTINGS.get(self.name, {}), **changes}
        return resolve(self.method.Settings, values, None, self.trainer.variant, self.trainer.variant_defaults)

    def begin(self, classes: int = 2, dims: int = 2, processes: Processes | None = None, **changes: Any) -> Learning:
        """All that learns, on a network of three stages with deep supervision.

        Args:
            processes: To be compared with others, so in float64 and with the Dice of images, which needs no exchange.
        """
        alone, dtype = processes is None, torch.float32 if processes is None else torch.float64
        processes = processes or ALONE
        student = small_network(classes=classes, deep_supervision=True, dims=dims, dtype=dtype)
        task = Task(1, classes, dims, noisy=1, unlabeled=1, ignore_label=classes, network=student)
        loss = over_whole_batch(stock_loss(classes, batch_dice=alone), classes, processes)
        torch.manual_seed(0)
        parts = {"task": task, "momentum": 0.9, "processes": processes}
        return learning_of(self.method, self.settings(**changes), student, loss, **parts)


COMPARED = {
    one.name: one
    for one in map(Compared, (getattr(mlbseg_trainers, name) for name in mlbseg_trainers.__all__))
    if issubclass(one.trainer.method, Comparison)
}


def stock_loss(ignore_label: int, batch_dice: bool = True) -> nn.Module:
    """nnU-Net's, at two scales."""
    dice = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(dice, {}, ignore_label=ignore_label, dice_class=MemoryEfficientSoftDiceLoss)
    return DeepSupervisionWrapper(loss, FACTORS)


def pair(classes: int = 2, dims: int = 2, seed: int = 1) -> dict[str, Any]:
    """As the loaders hand it over: two clean images, and an image of a noisy and one of an unlabeled case.

    Blobs whose brightness goes with their class, in noise; a fifth of the labels of the noisy image is wrong.
    """
    draw = torch.Generator().manual_seed(seed)
    shape = (4, 1, *SIZES[dims])
    field = torch.nn.functional.avg_pool2d(torch.randn(shape, generator=draw).flatten(2, -2), 3, 1, 1).view(shape)
    labels = torch.bucketize(field, torch.linspace(-0.3, 0.5, classes - 1) if classes > 2 else torch.tensor([0.1]))
    images = labels - 0.5 + 0.3 * torch.randn(shape, generator=draw)
    wrong = torch.rand(shape, generator=draw) < 0.2
    noisy = torch.where(wrong, torch.randint(classes, shape, generator=draw), labels)
    noisy[3] = classes  # an unlabeled case has nnU-Net's ignore label
    batch = {"data": images[:2], "target": at_both_scales(labels[:2])}
    batch |= {"imperfect_data": images[2:], "imperfect_target": at_both_scales(noisy[2:])}
    for name in ("", "imperfect_"):
        batch |= {f"{name}position": torch.tensor([0.1, 0.8]), f"{name}scan": torch.tensor([len(name), 3 + len(name)])}
    return {**batch, "imperfect_generated": torch.tensor([False, False]), "imperfect_case": torch.tensor([0, -1])}


def at_both_scales(labels: Tensor) -> list[Tensor]:
    """nnU-Net's target of deep supervision, whose rule takes every second pixel from the second on."""
    target = labels.to(torch.int16)
    coarse = (..., *[slice(1, None, 2)] * (labels.ndim - 2))
    return [target, target[coarse].clone()]


def relabelled(batch: Mapping[str, Any], value: int, part: float = 1.0) -> dict[str, Any]:
    """The same with this label at a part of the pixels, from the first row on, in all images."""
    found = dict(batch)
    for name in ("target", "imperfect_target"):
        found[name] = [one.clone() for one in batch[name]]
        for one in found[name]:
            one[:, :, : round(part * one.shape[2])] = value
    return found


def in_float64(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The same with images in double precision."""
    return {name: value.double() if name.endswith("data") else value for name, value in batch.items()}


def part(batch: Mapping[str, Any], processes: Processes) -> dict[str, Any]:
    """What the loader of one of several processes would make."""

    def cut(value: Any) -> Any:
        return [cut(one) for one in value] if isinstance(value, list) else value[processes.share(len(value))]

    return {name: cut(value) for name, value in batch.items()}


def without_guard(learning: Learning) -> Learning:
    """Without what looks at the gradient on the host where no gradient scaler does so on the device."""
    descent = learning.passes.descent
    optimizer = torch.optim.SGD(descent.parameters, 0.01, momentum=0.9)
    learning.passes.descent = replace(descent, optimizer=optimizer)
    return learning
