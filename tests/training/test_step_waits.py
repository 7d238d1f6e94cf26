"""Nothing in a step reads a value on the host, where a GPU would have to finish first."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from maths_support import NoHostReads, small_network
from method_support import learning_of, take_step
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import nn

from nnunetv2_mlbseg.maths.tangents.replayed import NotReplayable
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training import passes as passes_module
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.whole_batch_loss import over_whole_batch

IGNORE_LABEL = 2
FACTORS = (2 / 3, 1 / 3)


def _stock_loss() -> nn.Module:
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(dice, {}, ignore_label=IGNORE_LABEL, dice_class=MemoryEfficientSoftDiceLoss)
    return DeepSupervisionWrapper(loss, FACTORS)


def _step_and_batch(loss: nn.Module, **overrides) -> tuple[Learning, dict]:
    settings = resolve(MLBSeg.Settings, {"seed": 0, "initial_lr": 0.01, **overrides})
    student = small_network(deep_supervision=True)
    learning = learning_of(MLBSeg, settings, student, loss, momentum=0.9)
    # Without the guard, which looks at the gradient on the host where no gradient scaler does so on the device.
    unguarded = torch.optim.SGD(student.parameters(), 0.01, momentum=0.9)
    learning.passes.descent = replace(learning.passes.descent, optimizer=unguarded)
    generator = torch.Generator().manual_seed(0)
    batch = {"imperfect_generated": torch.tensor([True, False]), "imperfect_case": torch.tensor([-1, 0])}
    for name in ("", "imperfect_"):
        target = torch.randint(3, (2, 1, 16, 16), generator=generator).to(torch.int16)
        batch[f"{name}data"] = torch.randn(2, 1, 16, 16, generator=generator)
        batch[f"{name}target"] = [target, target[:, :, ::2, ::2]]
    return learning, batch


@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
@pytest.mark.parametrize("virtual", [False, True])
def test_a_step_never_waits_for_a_value(weighting, virtual):
    loss = over_whole_batch(_stock_loss(), IGNORE_LABEL, Processes())
    learning, batch = _step_and_batch(loss, weighting=weighting, virtual_consistency=virtual)
    with NoHostReads() as watched:
        found = take_step(learning, batch)
        learning.teacher.follow_(learning.student)
    assert watched.operations
    assert all(torch.isfinite(value).all() for value in found.values())


def test_sharing_the_training_pass_with_the_tangents_changes_a_step_by_rounding_only(monkeypatch):
    def refuse(*_):
        raise NotReplayable

    found = []
    for replays in (True, False):
        if not replays:
            monkeypatch.setattr(passes_module, "logits_with_tangents", refuse)
        learning, batch = _step_and_batch(_stock_loss(), weighting="meta", weight_normalization="sum")
        seen: list[int] = []
        learning.student.register_forward_hook(lambda module, inputs, _, seen=seen: seen.append(len(inputs[0])))
        values = take_step(learning, batch)
        assert sum(seen) == 2 + 2 * 2 * len(learning.settings.all_views) + 2, "clean, tangents and training, strong"
        found.append([torch.stack([*values.values()][:5]), *learning.student.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(*found, strict=True))


def test_the_guard_sees_what_nnunets_own_loss_reads():
    """nnU-Net asks for the number of annotated pixels where there is an ignore label; its value is the same."""
    learning, batch = _step_and_batch(_stock_loss())
    outputs = learning.student(batch["data"])
    with pytest.raises(AssertionError, match="reads a value on the host"), NoHostReads():
        _stock_loss()(outputs, batch["target"])
    ours = over_whole_batch(_stock_loss(), IGNORE_LABEL, Processes())
    assert torch.allclose(ours(outputs, batch["target"]), _stock_loss()(outputs, batch["target"]), rtol=1e-6)
