"""Which weights a batch gets: generated labels count less, depths and cases are told apart."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from maths_support import small_network
from method_support import TASK, CrossEntropy, drawn_batch, learning_of, mlbseg_step, take_step, weighed

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.method import Moment
from noise_synthesis.safe_io.errors import InputError


def _all_weights(learning, batch, moment=None):
    found = weighed(learning, batch, *([] if moment is None else [moment]))
    return sum(weights for _, weights in found.labels[0].pairs())


@pytest.mark.parametrize("weighting", ["tied", "uniform"])
def test_a_lower_weight_of_generated_labels_scales_their_images_and_no_others(weighting):
    values = {}
    for factor in (1.0, 0.25, 0.0):
        for generated in ([False, False], [True, True], [False, True]):
            learning = mlbseg_step(weighting=weighting, generated_weight=factor, generated_ramp_up=0)
            batch = {**drawn_batch(), "imperfect_generated": torch.tensor(generated)}
            found = _all_weights(learning, batch)
            values[factor, tuple(generated)] = (found, torch.tensor(generated).repeat(len(found) // 2))
    for generated in ((False, False), (True, True), (False, True)):
        (full, image), (quarter, _), (none, _) = (values[factor, generated] for factor in (1.0, 0.25, 0.0))
        assert full.sum() == pytest.approx(1)
        assert torch.equal(quarter[~image], full[~image]) and torch.equal(none[~image], full[~image])
        assert torch.allclose(quarter[image], full[image] / 4) and not none[image].any()


def test_generated_labels_begin_near_zero_and_reach_their_weight():
    """They rise from epoch to epoch: with the iterations before the present one."""
    learning = mlbseg_step(generated_weight=0.25, generated_ramp_up=100)
    batch = {**drawn_batch(), "imperfect_generated": torch.tensor([True, True])}
    moments = {began: Moment(began, began + 7, 5000) for began in (0, 50, 100, 1000)}
    sums = {began: float(_all_weights(learning, batch, moment).sum()) for began, moment in moments.items()}
    expected = {0: 0.25 * math.exp(-5), 50: 0.25 * math.exp(-1.25), 100: 0.25, 1000: 0.25}
    assert sums == pytest.approx(expected)
    for began, moment in moments.items():
        assert learning.method.least_of_generated(moment) == pytest.approx(expected[began])


def test_the_log_says_how_much_generated_labels_count():
    learning = mlbseg_step(generated_weight=0.25, generated_ramp_up=100, align_shares=True)
    assert learning.method.epoch_line(Moment(0, 0, 9)) == ", weight of generated labels 0.00168 or more"
    learning = mlbseg_step(generated_weight=1.0, generated_ramp_up=0, align_shares=True)
    assert learning.method.epoch_line(Moment(0, 0, 9)) == ", weight of generated labels 1"
    assert float(take_step(learning, drawn_batch())["weight_generated"]) == 1


def test_the_step_tells_depths_and_cases_apart_unless_switched_off():
    """Where depths are not told apart all counts lie at the first level, and without cases there is one matrix."""
    sums = {}
    for by_depth, by_case in ((True, True), (False, False)):
        learning = mlbseg_step(weighting="tied", confusion_by_depth=by_depth, confusion_by_case=by_case)
        take_step(learning, drawn_batch())
        confusion = learning.method.memory.disputes.confusion
        sums[by_depth] = confusion.counts.sum(3)
        assert bool(confusion.counts[..., 1:].any()) == by_depth
        assert len(confusion.cases) == int(by_case)
        if by_case:
            torch.testing.assert_close(confusion.cases, confusion.counts / (1 - learning.settings.tied_decay))
    torch.testing.assert_close(sums[True], sums[False])


def _on_volumes(shape: tuple[int, ...], mirror_axes: tuple[int, ...] | None):
    """A method on volumes, and a batch of two of them."""
    settings = resolve(MLBSeg.Settings, {"seed": 3, "views": ["zoom_in", "flip", "flip"]})
    task = replace(TASK, dims=3, mirror_axes=mirror_axes)
    learning = learning_of(MLBSeg, settings, small_network(dims=3), CrossEntropy(), task=task)
    image = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))
    batch = {"data": image, "target": (image > 0).short()}
    batch |= {f"imperfect_{name}": value for name, value in batch.items()}
    batch |= {"imperfect_generated": torch.tensor([False, True]), "imperfect_case": torch.tensor([0, -1])}
    return learning, batch


@pytest.mark.parametrize(("shape", "of_slices"), [((4, 16, 16), [1.0]), ((8, 16, 16), None)])
def test_views_of_volumes_stay_in_flat_slices_and_mirror_where_the_augmentation_does(shape, of_slices):
    learning, batch = _on_volumes(shape, mirror_axes=(1,))
    views = weighed(learning, batch).views.matrices[:, 0, :, :3].diagonal(0, 1, 2)  # coordinates x, y, z
    zoomed, *flipped = views[1:].tolist()
    assert zoomed[0] == zoomed[1] < 1 and zoomed[2:] == (of_slices or zoomed[:1])
    assert flipped == [[1.0, -1.0, 1.0]] * 2, "axis 1 of z, y, x"


def test_flips_without_an_axis_are_refused():
    with pytest.raises(InputError, match=r"views is \['zoom_in', 'flip', 'flip'\], but the trainer.* leave flip out"):
        _on_volumes((8, 16, 16), mirror_axes=())
