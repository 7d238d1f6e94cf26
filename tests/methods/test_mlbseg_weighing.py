"""Which weights a batch gets: generated labels count less, depths and cases are told apart."""

from __future__ import annotations

import math

import pytest
import torch
from method_support import drawn_batch, mlbseg_step, take_step, weighed

from nnunetv2_mlbseg.training.method import Moment


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
