"""Derivatives of a batch in parts: a step is the same as with those of all images at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from maths_support import small_network
from method_support import learning_of, take_guarded_step
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training import passes as passes_module
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.whole_batch_loss import over_whole_batch

IGNORE_LABEL = 2


def _learning(deep: bool, norm: str = "instance", **overrides: Any) -> Learning:
    """In double precision, so that order of summation does not show."""
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss: nn.Module = DC_and_CE_loss(dice, {}, ignore_label=IGNORE_LABEL, dice_class=MemoryEfficientSoftDiceLoss)
    loss = DeepSupervisionWrapper(loss, (2 / 3, 1 / 3)) if deep else loss
    student = small_network(deep_supervision=deep, norm=norm, dtype=torch.float64)
    settings = resolve(MLBSeg.Settings, {"seed": 0, "initial_lr": 0.01, **overrides})
    return learning_of(MLBSeg, settings, student, over_whole_batch(loss, IGNORE_LABEL, Processes()), momentum=0.9)


def _batch(deep: bool) -> dict[str, Any]:
    """Three images of either kind, a third of whose pixels have the ignore label."""
    draw = torch.Generator().manual_seed(0)
    batch: dict[str, Any] = {"imperfect_generated": torch.tensor([True, False, False])}
    batch["imperfect_case"] = torch.tensor([-1, 0, 0])
    for name in ("", "imperfect_"):
        target = torch.randint(3, (3, 1, 16, 16), generator=draw).to(torch.int16)
        batch[f"{name}data"] = torch.randn(3, 1, 16, 16, generator=draw, dtype=torch.float64)
        batch[f"{name}target"] = [target, target[:, :, ::2, ::2]] if deep else target
    return batch


def _after_two_steps(learning: Learning, deep: bool) -> tuple[dict[str, Tensor], Sequence[Tensor]]:
    found = [take_guarded_step(learning, _batch(deep)) for _ in range(2)]
    return found[-1], [*learning.student.parameters(), *learning.teacher.network.parameters()]


@pytest.mark.parametrize("weighting", ["tied", "meta"])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("replays", [False, True])
def test_a_step_with_derivatives_in_parts_is_that_with_all_at_once(monkeypatch, weighting, deep, replays):
    """Of 9 and 15 images, which no number of equal parts divides; the network and the log are the same to rounding."""
    views = ["zoom_in", "flip"] if replays else ["zoom_in", "zoom_out", "zoom_out", "flip"]
    found = []
    for parts in (1, passes_module.TANGENT_PARTS):
        monkeypatch.setattr(passes_module, "TANGENT_PARTS", parts)
        learning = _learning(deep, weighting=weighting, views=views)
        learning.passes._replays = replays
        found.append(_after_two_steps(learning, deep))
    (whole, wholes), (parted, parteds) = found
    assert whole.keys() == parted.keys()
    for name, value in whole.items():
        torch.testing.assert_close(parted[name], value, rtol=1e-6, atol=1e-9, msg=name)
    for one, other in zip(wholes, parteds, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("norm", "weighting", "parts"),
    [("batch", "meta", [9]), ("instance", "meta", [3, 3, 3]), ("batch", "tied", [9]), ("instance", "tied", [3])],
)
def test_a_network_that_mixes_images_sees_all_at_once(norm, weighting, parts):
    """Three clean images, three for derivatives, in three views where each pixel has its own, and nine to train on."""
    learning, seen = _learning(False, norm, weighting=weighting, views=["zoom_in", "flip"]), []
    learning.passes._replays = False
    learning.student.register_forward_hook(lambda module, inputs, _: seen.append(len(inputs[0])))
    take_guarded_step(learning, _batch(False))
    assert seen == [3, *parts, 9]
