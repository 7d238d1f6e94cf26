"""What former labels of clean cases tell MLB-Seg before the first batch, and after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from method_support import TASK, drawn_batch, mlbseg_step, take_step

from nnunetv2_mlbseg.cases.former_labels import FormerPair, in_groups
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.methods.mlbseg.known import known_errors
from noise_synthesis.safe_io.structures import Structures

TRUTH = torch.tensor([[[[0, 0, 1, 1, 1, -1]]]])
FORMER = torch.tensor([[[[0, 0, 0, 1, 1, 1]]]])
LEVEL = torch.tensor([[[[1, 0, 0, 0, 1, 1]]]])
PAIRS = (FormerPair(-1, TRUTH, FORMER, LEVEL), FormerPair(0, TRUTH, TRUTH, LEVEL))


def test_former_labels_are_counted_by_source_depth_and_group() -> None:
    found = known_errors(PAIRS, replace(TASK, sources=(0,)))
    assert found.shape == (2, 2, 2, LEVELS)
    assert found[0, 0, 0, :2].tolist() == [1, 1] and found[0, 1, 0, 0] == 1 and found[0, 1, 1, :2].tolist() == [1, 1]
    assert found[0].sum() == 5 and found[1].diagonal().sum() == found[1].sum() == 5
    flat = known_errors(PAIRS[:1], TASK, by_depth=False)
    assert flat.shape == (1, 2, 2, LEVELS) and not flat[..., 1:].any() and flat[0, 0, 0, 0] == 2
    regions = FormerPair(-1, TRUTH.repeat(2, 1, 1, 1), torch.cat([FORMER, TRUTH]), LEVEL.repeat(2, 1, 1, 1))
    both = known_errors([regions], replace(TASK, regions=2))
    assert both[0, 1, 0].sum() == 1 and both[1, 1, 0].sum() == 0, "each region errs in its own way"


def test_a_class_that_no_clean_case_shows_is_not_counted() -> None:
    task = replace(TASK, classes=3, unshown=(2,))
    pair = FormerPair(-1, TRUTH, torch.where(FORMER == 0, 2, FORMER), LEVEL)
    found = known_errors([pair], task)
    assert not found[0, :, 2].any() and found.sum() == 2


@pytest.mark.parametrize("weighting", ["meta", "uniform"])
def test_weights_that_remember_nothing_ask_for_no_former_labels(weighting: str) -> None:
    assert not mlbseg_step(weighting=weighting).method.learns_from_former
    assert mlbseg_step(weighting="tied").method.learns_from_former


def test_what_is_known_counts_from_the_first_batch_on_and_survives_a_checkpoint() -> None:
    learning, plain = mlbseg_step(weighting="tied"), mlbseg_step(weighting="tied")
    learning.method.know(PAIRS[:1])
    known = learning.method.state()["disputes"]["known"]
    assert torch.equal(known, known_errors(PAIRS[:1], TASK)) and learning.method.weighing().none_because is None
    plain.method.know(())
    assert plain.method.state()["disputes"] is None, "nothing is known, so nothing is begun"
    for one in (learning, plain):
        take_step(one, drawn_batch())
    state, without = (one.method.state()["disputes"] for one in (learning, plain))
    assert torch.equal(state["known"], known) and not without["known"].any()
    assert not torch.equal(state["counts"], without["counts"]), "what is believed of the batch is another thing"
    again = mlbseg_step(weighting="tied")
    again.method.load_state(learning.method.state())
    assert torch.equal(again.method.state()["disputes"]["known"], known)
    again.method.know(())
    assert not again.method.state()["disputes"]["known"].any(), "the former labels are gone"


def test_preprocessed_labels_become_groups() -> None:
    label = np.array([[[-1, 0, 1, 2, 3]]])
    exclusive = Structures({"a": (1,), "b": (2,)}, None, 3)
    assert in_groups(label, exclusive).tolist() == [[[[0, 0, 1, 2, -1]]]]
    regions = Structures({"whole": (1, 2), "core": (2,)}, (1, 2), 3)
    assert in_groups(label, regions).tolist() == [[[[0, 0, 1, 1, -1]]], [[[0, 0, 0, 1, -1]]]]
