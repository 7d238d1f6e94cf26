"""Started as a program with the stand-in for CUDA: training steps on emulated CUDA, and the same ones on the CPU.

LD_PRELOAD=LIBRARY python emulated_steps.py FILE   what every case gave, and one of them with every defect
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from emulated_cuda import EmulatedCuda
from maths_support import small_network
from method_support import ALONE, START, TASK, learning_of
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn

from nnunetv2_mlbseg.methods.mlbseg import method as mlbseg
from nnunetv2_mlbseg.methods.plain import Plain
from nnunetv2_mlbseg.networks.unetplusplus import UNetPlusPlus
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training import passes
from nnunetv2_mlbseg.training.descent import Descent, Gradient
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.stages import Draw, Stage
from nnunetv2_mlbseg.training.task import Task
from nnunetv2_mlbseg.training.whole_batch_loss import over_whole_batch

STEPS = 2
"""The second one meets momentum, a teacher that is not the student, and tables that are not empty."""
SIZE = 32
SCALES = (256.0, 65536.0)
"""Factors of the gradient scaler. Both are powers of two, so that scaling itself rounds nothing."""
FACTORS = (2 / 3, 1 / 3)
SETTINGS: Mapping[str, Any] = {"seed": 3, "initial_lr": 0.005, "momentum": 0.9, "ema_decay": 0.9}
HOST = torch.Generator()
CLEAN = Draw(("clean",), 2, "clean_batch_size")
PAIRS = Stage("pairs", 1, CLEAN, Draw(("noisy", "unlabeled"), 2, "imperfect_batch_size"), by_method=True)
PLAIN = Stage("plain training", 1, CLEAN)
NEW_CLASS = replace(TASK, classes=3, ignore_label=3, unshown=(2,))
"""Noisy labels alone show the last class."""
NETWORKS: Mapping[str, Callable[[int], nn.Module]] = {
    "plain": lambda classes: small_network("plain", classes=classes, deep_supervision=True),
    "residual": lambda classes: small_network("residual", classes=classes, deep_supervision=True),
    "unet++": lambda classes: UNetPlusPlus(1, classes, (4,)),
}


@dataclass(frozen=True)
class Case:
    """A training whose steps are taken. ``stage``: MLB-Seg's, or nnU-Net's step on the clean batch."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    network: str = "plain"
    stage: Stage = PAIRS
    task: Task = TASK

    @property
    def deep(self) -> bool:
        """Whether there is deep supervision, which UNet++ does without."""
        return self.network != "unet++"


CASES: Mapping[str, Case] = {
    "tied": Case({"weighting": "tied"}),
    "meta": Case({"weighting": "meta", "weight_normalization": "sum"}),
    "uniform": Case({"weighting": "uniform", "clean_loss": "ce"}, "residual"),
    "virtual step": Case({"weighting": "meta", "virtual_consistency": True}),
    "UNet++": Case({"weighting": "tied"}, "unet++"),
    "plain": Case(stage=PLAIN),
    "new class": Case({"weighting": "tied"}, task=NEW_CLASS),
    "warm-up before a new class": Case(stage=replace(PLAIN, quantity="warmup"), task=NEW_CLASS),
}


def loaded_batch(case: Case, number: int, pinned: bool) -> dict[str, Any]:
    """As the loaders hand it over: bright discs with some pixels unlabeled; noisy labels are shifted."""
    draw = torch.Generator().manual_seed(number)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    batch: dict[str, Any] = {"imperfect_generated": torch.tensor([False, True])}
    batch["imperfect_case"] = torch.tensor([0, -1])
    for name in ("", "imperfect_"):
        centre = SIZE * (0.3 + 0.4 * torch.rand(2, 2, 1, 1, 1, generator=draw))
        disc = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (SIZE / 4) ** 2).float()
        target = (disc.roll(2, 3) if name else disc).to(torch.int16)
        if name:
            target[..., : SIZE // 2] *= case.task.classes - 1
        target[:, :, -3:] = case.task.ignore_label
        batch[f"{name}data"] = disc + 0.5 * torch.randn(disc.shape, generator=draw)
        batch[f"{name}target"] = [target, target[:, :, ::2, ::2].contiguous()] if case.deep else target

    def pin(value: Any) -> Any:
        return [pin(item) for item in value] if isinstance(value, list) else value.pin_memory()

    return {name: pin(value) for name, value in batch.items()} if pinned else batch


def loss_of(case: Case) -> nn.Module:
    """nnU-Net's, as the trainer makes it."""
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    ignore = case.task.ignore_label
    loss: nn.Module = DC_and_CE_loss(dice, {}, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss)
    return over_whole_batch(DeepSupervisionWrapper(loss, FACTORS) if case.deep else loss, ignore, ALONE)


def begin(case: Case, scale: float | None) -> Learning:
    """All that learns: on CUDA with a gradient scaler of this scale, or on the CPU."""
    method = Plain if case.stage is PLAIN else mlbseg.MLBSeg
    device = torch.device("cpu" if scale is None else "cuda")
    torch.manual_seed(0)
    return learning_of(
        method,
        resolve(method.Settings, {**SETTINGS, **case.settings}),
        NETWORKS[case.network](case.task.classes).to(device),
        loss_of(case),
        task=case.task,
        momentum=SETTINGS["momentum"],
        grad_scaler=None if scale is None else torch.amp.GradScaler("cuda", init_scale=scale),
        device=device,
    )


def take_steps(case: Case, learning: Learning) -> list[dict[str, Any]]:
    """The values for the log of some steps, one after the other."""
    descent, device = learning.passes.descent, learning.passes.device
    trainer: Any = SimpleNamespace(
        optimizer=descent.optimizer,
        grad_scaler=descent.grad_scaler,
        network=learning.student,
        loss=loss_of(case),
        device=device,
    )
    nnunets = partial(nnUNetTrainer.train_step, trainer)
    batches = [loaded_batch(case, number, pinned=device.type == "cuda") for number in range(STEPS)]
    return [learning.iteration(case.stage, batch, START, nnunets) for batch in batches]


def weights_of(learning: Learning) -> Tensor:
    """The student's, one after the other, on the CPU."""
    return torch.cat([parameter.detach().flatten().cpu() for parameter in learning.student.parameters()])


def on_cpu(case: Case) -> dict[str, Any]:
    """The weights before and after the steps in float32."""
    learning = begin(case, None)
    before = weights_of(learning)
    take_steps(case, learning)
    return {"before": before, "after": weights_of(learning)}


def on_cuda(case: Case, scale: float) -> dict[str, Any]:
    """The weights after the steps, whether all values were finite, and what would be wrong on a GPU."""
    with EmulatedCuda() as emulated:
        learning = begin(case, scale)
        emulated.begin()
        values = take_steps(case, learning)
        found = {name: list(getattr(emulated, name)) for name in ("waits", "mixes", "half_sums")}
        finite = [torch.isfinite(torch.as_tensor(v)).all().item() for step in values for v in step.values()]
        return {**found, "finite": all(finite), "after": weights_of(learning)}


def with_loss(change: Callable[[Tensor], Tensor]) -> AbstractContextManager[Any]:
    """A step whose loss of Eq. 9 is changed."""
    right = mlbseg.bootstrap_loss
    return patch.object(mlbseg, "bootstrap_loss", lambda *arguments: change(right(*arguments)))


def read(loss: Tensor) -> Tensor:
    """The same; the host looks at it."""
    loss.item()
    return loss


def unscaled_gradient(descent: Descent, loss: Tensor) -> Gradient:
    """Without the gradient scaler's factor, which the rest of the gradient has."""
    return list(torch.autograd.grad(loss, descent.parameters, allow_unused=True))


DEFECTIVE = "virtual step"
"""The case that has every defect in turn."""
DEFECTS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = {
    "a value is read": lambda: with_loss(read),
    "a tensor is made on the CPU": lambda: with_loss(lambda loss: (loss + torch.zeros(1)).sum()),
    "a number is copied to the GPU": lambda: with_loss(lambda loss: loss * torch.tensor(1.0, device=loss.device)),
    "the CPU's generator draws": lambda: with_loss(
        lambda loss: loss + 0 * loss.new_zeros(1).uniform_(generator=HOST)[0]
    ),
    "sums are in half precision": lambda: patch.object(passes, "at_least_float32", lambda tensor: tensor),
    "the clean gradient lacks the scale": lambda: patch.object(Descent, "gradient", unscaled_gradient),
    "the virtual step keeps the scale": lambda: patch.object(Descent, "unscaled", lambda self, gradient: gradient),
    "the loss is not finite": lambda: with_loss(lambda loss: loss / 0),
}


def main() -> None:
    """Take the steps of every case, and those of one with every defect."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = {"cases": {}, "defects": {}}
    for name, case in CASES.items():
        found["cases"][name] = {"cpu": on_cpu(case), "cuda": [on_cuda(case, scale) for scale in SCALES]}
    case, right = CASES[DEFECTIVE], found["cases"][DEFECTIVE]
    for name, defect in DEFECTS.items():
        with defect():
            found["defects"][name] = {**right, "cuda": [on_cuda(case, scale) for scale in SCALES]}
    torch.save(found, sys.argv[1])


if __name__ == "__main__":
    main()
