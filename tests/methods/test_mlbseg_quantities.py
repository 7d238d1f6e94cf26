"""What the log says of weights, by hand."""

from __future__ import annotations

import pytest
import torch
from maths_support import NoHostReads, seen

from nnunetv2_mlbseg.maths.records import NoRecord
from nnunetv2_mlbseg.maths.weighting.meta import Meta
from nnunetv2_mlbseg.methods.mlbseg.quantities import statistics


def _meta(logits, tangents, imperfect, pseudo):
    return Meta("sum").weigh(seen([logits], [tangents], imperfect, pseudo), NoRecord())[0]


def test_statistics_of_one_view_by_hand():
    tangents = torch.tensor([[[[1.0, 1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0, 0.0]]]])
    weighted = _meta(torch.zeros(1, 2, 1, 4), tangents, torch.tensor([[[0, 1, 1, -1]]]), torch.tensor([[[1, 1, 1, 1]]]))
    # softmax is 1/2: raw weight of class 0 is 1/2 - 1 = -1/2, of class 1 is 1/2 - 0 = 1/2
    found = {name: round(value.item(), 6) for name, value in statistics(weighted).items()}
    assert found["weight_imperfect"] == round(1 / 3, 6) and found["weight_pseudo"] == 0.5
    assert found["share_imperfect"] == round(2 / 3, 6) and found["share_pseudo"] == 1.0
    assert found["agreement"] == round(2 / 3, 6)
    assert found["weight_imperfect_by_view"] == found["weight_imperfect"] and found["sum_pseudo_by_view"] == 1


def test_statistics_by_view_by_hand():
    """Two views of one image with two pixels: raw weights +-1/2 or 0 as above, in view 1 four times as large."""
    tangents = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]], [[[4.0, 4.0]], [[0.0, 0.0]]]])
    imperfect = torch.tensor([[[1, 0]], [[1, 1]]])
    pseudo = torch.tensor([[[0, 0]], [[1, -1]]])
    weighted = _meta(torch.zeros(2, 2, 1, 2), tangents, imperfect, pseudo)
    found = {name: value.tolist() for name, value in statistics(weighted, 2).items()}
    assert found["weight_imperfect_by_view"] == [0.25, 2.0] and found["weight_pseudo_by_view"] == [0.0, 2.0]
    assert found["sum_imperfect_by_view"] == pytest.approx([1 / 9, 8 / 9])
    assert found["sum_pseudo_by_view"] == pytest.approx([0, 1])


def test_a_step_reads_nothing_from_the_device_for_its_statistics():
    weighted = _meta(torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3), *torch.randint(0, 2, (2, 4, 3, 3)))
    with NoHostReads() as watched:
        statistics(weighted, 2)
    assert watched.operations
