"""A batch in parts, for derivatives or for the gradient too: a step is the same as with all images at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from maths_support import small_network
from method_support import TASK, learning_of, take_guarded_step
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training import tangent_pass
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.whole_batch_loss import over_whole_batch

IGNORE_LABEL = 2


def _learning(deep: bool, norm: str = "instance", dims: int = 2, scaler: Any = None, **overrides: Any) -> Learning:
    """In double precision, so that order of summation does not show."""
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss: nn.Module = DC_and_CE_loss(dice, {}, ignore_label=IGNORE_LABEL, dice_class=MemoryEfficientSoftDiceLoss)
    loss = DeepSupervisionWrapper(loss, (2 / 3, 1 / 3)) if deep else loss
    student = small_network(deep_supervision=deep, norm=norm, dims=dims, dtype=torch.float64)
    settings = resolve(MLBSeg.Settings, {"seed": 0, "initial_lr": 0.01, **overrides})
    whole = over_whole_batch(loss, IGNORE_LABEL, Processes())
    task = replace(TASK, dims=dims)
    return learning_of(MLBSeg, settings, student, whole, task=task, momentum=0.9, grad_scaler=scaler)


def _batch(deep: bool, dims: int = 2) -> dict[str, Any]:
    """Three images of either kind, a third of whose pixels have the ignore label."""
    draw = torch.Generator().manual_seed(0)
    batch: dict[str, Any] = {"imperfect_generated": torch.tensor([True, False, False])}
    batch["imperfect_case"] = torch.tensor([-1, 0, 0])
    for name in ("", "imperfect_"):
        shape = (3, 1, *[16 if dims == 2 else 8] * dims)
        target = torch.randint(3, shape, generator=draw).to(torch.int16)
        batch[f"{name}data"] = torch.randn(shape, generator=draw, dtype=torch.float64)
        coarse = (slice(None), slice(None), *[slice(None, None, 2)] * dims)
        batch[f"{name}target"] = [target, target[coarse]] if deep else target
    return batch


def _after_two_steps(learning: Learning, deep: bool, dims: int = 2) -> tuple[dict[str, Tensor], Sequence[Tensor]]:
    found = [take_guarded_step(learning, _batch(deep, dims)) for _ in range(2)]
    return found[-1], [*learning.student.parameters(), *learning.teacher.network.parameters()]


@pytest.mark.parametrize("weighting", ["tied", "meta"])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("replays", [False, True])
def test_a_step_with_derivatives_in_parts_is_that_with_all_at_once(monkeypatch, weighting, deep, replays):
    """Of 9 and 15 images, which no number of equal parts divides; the network and the log are the same to rounding."""
    views = ["zoom_in", "flip"] if replays else ["zoom_in", "zoom_out", "zoom_out", "flip"]
    found = []
    for parts in (1, tangent_pass.TANGENT_PARTS):
        monkeypatch.setattr(tangent_pass, "TANGENT_PARTS", parts)
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
    """Three clean images, three for derivatives, in three views where each pixel has its own, nine, three strong."""
    learning, seen = _learning(False, norm, weighting=weighting, views=["zoom_in", "flip"]), []
    learning.passes._replays = False
    learning.student.register_forward_hook(lambda module, inputs, _: seen.append(len(inputs[0])))
    take_guarded_step(learning, _batch(False))
    assert seen == [3, *parts, 9, 3]


WAYS: dict[str, dict[str, Any]] = {
    "tied": {},
    "meta, virtual step": {"weighting": "meta", "virtual_consistency": True, "weight_normalization": "sum"},
    "uniform": {"weighting": "uniform"},
    "tied by the student": {"mean_teacher": False},
}


@pytest.mark.parametrize(("dims", "deep", "replays"), [(2, True, True), (3, True, False), (3, False, False)])
@pytest.mark.parametrize("way", WAYS)
def test_a_step_with_some_images_at_once_is_that_of_all(way, dims, deep, replays):
    """Six shown images, by one, by four and two, and together; after two steps all is the same to rounding."""
    found = []
    for images in (6, 4, 1):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0) if images == 4 else None  # exact: a power of two
        learning = _learning(deep, dims=dims, scaler=scaler, views=["flip"], images_at_once=images, **WAYS[way])
        learning.passes._replays = replays
        found.append(_after_two_steps(learning, deep, dims))
    whole, wholes = found[0]
    for values, parameters in found[1:]:
        for name, value in whole.items():
            torch.testing.assert_close(values[name], value, rtol=1e-6, atol=1e-9, msg=name)
        for one, other in zip(wholes, parameters, strict=True):
            assert (one - other).norm() <= 1e-12 * one.norm()


@pytest.mark.parametrize(("norm", "dropout", "most"), [("instance", 0, 3), ("batch", 0, 9), ("instance", 0.5, 9)])
def test_no_more_images_pass_at_once_than_allowed_unless_they_depend_on_each_other(norm, dropout, most):
    """Three clean images pass together, as in nnU-Net's own step."""
    learning = _learning(False, norm, views=["zoom_in", "flip"], images_at_once=2)
    learning.passes._replays = False
    if dropout:
        learning.student.add_module("dropout", nn.Dropout(dropout))
    seen: list[int] = []
    for network in (learning.student, learning.teacher.network):
        network.register_forward_hook(lambda module, inputs, _: seen.append(len(inputs[0])))
    take_guarded_step(learning, _batch(False))
    assert max(seen) == most and seen[0] == 3


def test_a_step_in_3d_logs_the_image_and_the_drawn_view():
    learning = _learning(True, dims=3, views_per_step=1)
    found = take_guarded_step(learning, _batch(True, 3))
    assert learning.method.about(learning.settings) == {"views": ("image", "drawn")}
    by_view = [value for name, value in found.items() if name.endswith("_by_view")]
    assert len(by_view) == 4 and all(value.shape == (2,) and torch.isfinite(value).all() for value in by_view)


def test_a_gpu_holds_one_patch_at_once_in_3d_and_all_images_in_2d():
    for dims, device, expected in ((3, "cuda", 1), (3, "cpu", None), (2, "cuda", None)):
        method = _learning(False, dims=dims).method
        method.passes.device = torch.device(device)
        assert method._at_once_by_default() == expected
