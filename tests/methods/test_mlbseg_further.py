"""A step with several labels of a case: what one says that the other gets wrong, and no difference without any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from maths_support import small_network
from method_support import TASK, CrossEntropy, drawn_batch, learning_of, take_step, weighed

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.settings.overrides import resolve

OF_TWO = replace(TASK, kinds=2, sources=(-1, 0))


def _learning(task, **overrides):
    torch.manual_seed(0)
    settings = resolve(MLBSeg.Settings, {"seed": 3, "weight_decay": 0, "initial_lr": 0.1, **overrides})
    return learning_of(MLBSeg, settings, small_network(), CrossEntropy(), task=task)


def _batch(further: torch.Tensor | None = None) -> dict[str, Any]:
    """The drawn batch, with a further label of its noisy image; of the unlabeled one there is none."""
    batch = drawn_batch()
    own = batch["imperfect_target"]
    kind = torch.full_like(own, TASK.ignore_label)
    if further is not None:
        kind[0] = further[0]
    return {**batch, "imperfect_target": torch.cat([own, kind], dim=1)}


def test_a_kind_of_label_that_no_image_has_changes_nothing():
    found = []
    for task, batch in ((TASK, drawn_batch()), (OF_TWO, _batch())):
        learning = _learning(task)
        values = [take_step(learning, batch) for _ in range(3)][-1]
        found.append((values, [parameter.detach().clone() for parameter in learning.student.parameters()]))
    torch.testing.assert_close(found[0][1], found[1][1])
    for name, value in found[0][0].items():
        torch.testing.assert_close(value, found[1][0][name])


@pytest.mark.parametrize("weighting", ["meta", "uniform"])
def test_weights_that_remember_nothing_take_the_label_of_the_dataset_alone(weighting):
    roles = FoldRoles(("c",), ("n",), (), ("v",), further=(("reader", ("n",)),))
    for name, expected in (("tied", True), (weighting, False)):
        settings = resolve(MLBSeg.Settings, {"weighting": name})
        *before, last = MLBSeg.stages(settings, 4, roles)
        assert last.further == expected and not any(stage.further for stage in before)
    settings = resolve(MLBSeg.Settings, {})
    assert not MLBSeg.stages(settings, 4, replace(roles, further=(("reader", ("c",)),)))[-1].further


def test_a_right_further_label_takes_weight_from_what_is_wrong():
    """The label of the noisy image is turned over in its upper rows; the further one is right there."""
    truth = drawn_batch()["target"]
    shares = {}
    for name, batch in (("alone", _batch()), ("right", _batch(truth))):
        learning = _learning(OF_TWO, views=[])
        labels = weighed(learning, batch).labels[0]
        right = torch.zeros_like(labels.weight_imperfect)
        for label, weight in labels.pairs():
            right += weight * (label == truth[:, 0])
        every = sum(weight for _, weight in labels.pairs())
        shares[name] = (right / every)[0, :3].nan_to_num().mean()
    assert shares["right"] > shares["alone"] + 0.2


def test_each_label_counts_for_its_own_source_and_case():
    truth = drawn_batch()["target"]
    learning = _learning(OF_TWO, views=[])
    take_step(learning, _batch(truth))
    record = learning.method.memory.disputes.confusion
    assert len(record.cases) == 2 and len(record.sources) == 1 and record.source_of.tolist() == [-1, 0]
    pixels = truth[0].numel()
    assert record.cases[1].sum() == pytest.approx(pixels) and record.sources[0].sum() == pytest.approx(pixels)
    assert record.cases[0].sum() < pixels, "the last column of the first label is missing"
    assert record.counts.sum() == pytest.approx(
        float(record.cases.sum()) * (1 - learning.settings.tied_decay), rel=1e-4
    )


def test_a_checkpoint_from_before_a_further_label_came_goes_on():
    before, after = _learning(TASK), _learning(OF_TWO)
    take_step(before, drawn_batch())
    after.method.load_state(before.method.state())
    record = after.method.memory.disputes.confusion
    assert torch.equal(record.cases[0], before.method.memory.disputes.confusion.cases[0]) and not record.cases[1].any()
    take_step(after, _batch(drawn_batch()["target"]))
    assert after.method.memory.disputes.confusion.cases[1].any()
    gone = _learning(TASK)
    gone.method.load_state(after.method.state())
    take_step(gone, drawn_batch())
    assert len(gone.method.memory.disputes.confusion.cases) >= 1
