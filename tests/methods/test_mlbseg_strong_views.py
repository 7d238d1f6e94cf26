"""Strong views in MLB-Seg: the warm-up that they make, whose labels count, and what stays untouched."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from maths_support import small_network
from method_support import (
    CPU,
    NETWORKS,
    TASK,
    CrossEntropy,
    drawn_batch,
    learning_of,
    mlbseg_step,
    parameters_of,
    same,
    state_of,
    take_step,
)
from region_support import at_scales, learning_of_regions, nested_discs, region_target
from torch import Tensor

from nnunetv2_mlbseg.maths import strong_view
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.shared import strong_views
from nnunetv2_mlbseg.methods.shared.strong_views import SureLabels
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Moment
from nnunetv2_mlbseg.training.stages import Draw, Stage

pytestmark = pytest.mark.usefixtures("sure_of_all")
HALF_WAY = Moment(50, 50, 60, "warm-up", 0.5)
CLEAN = Draw(("clean",), 2, "key")
BLANK = Draw(("unlabeled",), 2, "key", blank=("unlabeled",))
NONE = replace(TASK, unlabeled=0)
WARM_UP = Stage("warm-up", 1, CLEAN, BLANK, by_method=True)


@pytest.fixture
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strong views are the images themselves."""
    monkeypatch.setattr(strong_views, "strong_view", lambda images, uniform: images)
    monkeypatch.setattr(
        strong_views, "boxes_of_area", lambda count, size, *_: torch.zeros(count, *size, dtype=torch.bool)
    )


def _warm_up_step(learning: Learning, loaded: dict[str, Any], moment: Moment = HALF_WAY) -> dict[str, Any]:
    def nnunets(_: Any) -> dict[str, Any]:
        raise AssertionError("the method's terms train")

    return learning.iteration(WARM_UP, loaded, moment, nnunets)


def _unlabeled(**changes: Tensor) -> dict[str, Any]:
    """A batch as the warm-up draws it."""
    return {**drawn_batch(), "imperfect_case": torch.tensor([-1, -1]), **changes}


def _soft_dice(p: Tensor, labels: Tensor) -> Tensor:
    """Of the only foreground class, over the batch, written out."""
    inside = labels == 1
    return (2 * p[:, 1][inside].sum() + 1e-5) / (p[:, 1].sum() + inside.sum() + 1e-5)


def test_the_warm_up_is_the_clean_batch_and_the_dice_with_ones_own_labels(unchanged: None) -> None:
    learning = mlbseg_step(strong_weight=0.7)
    loaded = _unlabeled()
    with torch.no_grad():
        p = learning.student(loaded["imperfect_data"]).softmax(dim=1)
        clean = CrossEntropy()(learning.student(loaded["data"]), loaded["target"])
    expected = 0.7 * math.exp(-5 / 4) * (1 - _soft_dice(p, p.argmax(dim=1)))
    found = _warm_up_step(learning, loaded)
    assert 0.03 < float(expected) < 0.3
    assert float(found["strong"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(found["warmup"]) == pytest.approx(float(clean), rel=1e-5)
    assert set(found) == {"loss", "warmup", "strong", "skipped"}


def test_no_label_of_an_imperfect_case_is_read_in_the_warm_up() -> None:
    moved = []
    for garbage in (False, True):
        learning, loaded = mlbseg_step(), _unlabeled()
        if garbage:
            loaded["imperfect_target"] = torch.full_like(loaded["imperfect_target"], -1)
        _warm_up_step(learning, loaded)
        moved.append(parameters_of(learning.student))
    assert all(torch.equal(a, b) for a, b in zip(*moved, strict=True))


def test_labels_come_from_the_image_as_it_is_and_carry_no_gradient() -> None:
    logits = torch.tensor([[[4.0, -4.0, 0.1]], [[-4.0, 4.0, 0.0]]]).transpose(0, 1).requires_grad_()
    sure = SureLabels.of(logits, 0.95)
    assert sure.labels.tolist() == [[0, 1, 0]] and sure.counted.tolist() == [[True, True, False]]
    assert not sure.labels.requires_grad


def test_a_pasted_box_counts_in_every_region_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two regions of two images: what a pixel shows and what it is called, in both regions, are of one image."""
    monkeypatch.setattr(strong_views, "strong_view", lambda images, uniform: images)
    learning = learning_of_regions(small_network(classes=2, deep_supervision=True), 2, False)
    images = torch.stack([torch.zeros(1, 16, 16), torch.ones(1, 16, 16)])
    labels = torch.stack([torch.full((16, 16), number) for number in (0, 1, 2, 3)])  # image 0: 0, 1; image 1: 2, 3
    views = strong_views.StrongViews(learning.passes, box_chance=1.0)
    shown, found = views._shown(images, SureLabels(labels, labels > 1))
    of_second = shown[:, 0].repeat_interleave(2, dim=0).long()
    assert torch.equal(found.labels, 2 * of_second + torch.tensor([0, 1, 0, 1]).view(4, 1, 1))
    assert torch.equal(found.counted, of_second == 1) and 0 < float(of_second[0].float().mean()) < 1


def test_of_a_class_that_no_clean_image_shows_the_warm_up_says_nothing() -> None:
    """It ends as probable as the background, and no gradient of strong views reaches its logit."""
    generator = torch.Generator().manual_seed(6)
    images, masks = nested_discs(2, generator)
    noisy, _ = nested_discs(2, generator)
    masks[:, 1] = False
    network = small_network(classes=2, deep_supervision=True)
    learning = learning_of_regions(network, 2, False, unshown=(1,))
    target = at_scales(region_target(masks))
    places = {"imperfect_generated": torch.tensor([False, True]), "imperfect_case": torch.tensor([-1, -1])}
    loaded = {"data": images, "target": target, "imperfect_data": noisy, "imperfect_target": target, **places}
    terms = learning.method.terms(Batch.of(loaded, CPU), HALF_WAY)
    head: Any = network.decoder.seg_layers[-1]
    (gradient,) = torch.autograd.grad(terms.losses["strong"], [head.weight])
    assert gradient[0].any() and not gradient[1].any()
    _warm_up_step(learning, loaded)
    assert all(not output[:, 1].any() and output[:, 0].any() for output in network(images))


@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
def test_after_the_warm_up_it_is_of_unlabeled_images_and_ends_at_its_full_weight(
    weighting: str, unchanged: None
) -> None:
    """The first image is of a noisy case. The gradient of all other terms is there already."""
    learning = mlbseg_step(weighting=weighting, strong_weight=2.0)
    loaded, teacher, student = drawn_batch(), state_of(learning.teacher.network), list(learning.student.parameters())
    p = learning.student(loaded["imperfect_data"]).softmax(dim=1)[1:]
    expected = 2 * (1 - _soft_dice(p, p.argmax(dim=1)))
    found = learning.method.terms(Batch.of(loaded, CPU), Moment(90, 90, 90, "bootstrapping", 1))
    (loss,) = found.losses.values()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    for ours, wanted in zip(torch.autograd.grad(loss, student), torch.autograd.grad(expected, student), strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-7)
    assert same(teacher, learning.teacher.network)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("weighting", ["tied", "meta", "uniform"])
def test_one_part_after_the_other_is_the_gradient_of_the_sum(network: str, weighting: str, unchanged: None) -> None:
    """The step with strong views is the one without and, apart, theirs: here with plain SGD, to rounding."""
    moved, loaded, last = {}, drawn_batch(), Moment(90, 90, 90, "bootstrapping", 1)
    for weight in (0.0, 1.0):
        learning = mlbseg_step(network, weighting=weighting, strong_weight=weight)
        before = parameters_of(learning.student)
        take_step(learning, loaded, last)
        moved[weight] = [b - a for a, b in zip(before, learning.student.parameters(), strict=True)]
    learning = mlbseg_step(network)
    p = learning.student(loaded["imperfect_data"])
    p = (p if isinstance(p, Tensor) else p[0]).softmax(dim=1)[1:]
    loss = 1 - _soft_dice(p, p.argmax(dim=1).detach())
    gradient = torch.autograd.grad(loss, list(learning.student.parameters()), allow_unused=True)
    for whole, rest, one in zip(moved[1.0], moved[0.0], gradient, strict=True):
        torch.testing.assert_close(
            whole - rest, torch.zeros_like(rest) if one is None else -0.1 * one, rtol=1e-3, atol=1e-6
        )


def test_without_unlabeled_cases_nothing_of_it_happens() -> None:
    learning = learning_of(MLBSeg, resolve(MLBSeg.Settings, {"seed": 1}), small_network(), CrossEntropy(), task=NONE)
    found = learning.method.terms(Batch.of(drawn_batch(), CPU), Moment(90, 90, 90, "bootstrapping", 1))
    assert "strong" not in found.found()


def test_strong_views_differ_from_the_images_in_intensity() -> None:
    """Not to test against nothing: the default changes them."""
    images = torch.randn(4, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    changed = strong_view.strong_view(images, lambda shape: torch.rand(shape, generator=generator))
    assert (changed - images).abs().flatten(1).mean(1).gt(0.05).sum() >= 2
