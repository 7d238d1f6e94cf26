"""Regions of a label in the audit: judged one by one, and painted into one map again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from audit_support import reading

from nnunetv2_mlbseg.audit.bayes import case_confusion, posterior, suspicion, usual_confusion
from nnunetv2_mlbseg.audit.label_files import Label
from nnunetv2_mlbseg.audit.label_groups import LabelGroups, any_of, class_names
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.one_case import Thresholds, audit_case
from nnunetv2_mlbseg.audit.witnesses import Witnesses
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels
from noise_synthesis.safe_io.structures import Structures

NESTED = LabelGroups(Structures({"whole": (1, 2, 3), "core": (2, 3)}, order=(1, 2), ignore=4))


def test_labels_are_folded_and_painted_and_stay_where_nothing_changes():
    """Value 3 is in the same regions as 2, so that no painting brings it back."""
    label = torch.tensor([[[0, 1, 2, 3, -1]]])
    folded = NESTED.labels(label)
    assert folded[:, 0, 0].tolist() == [[0, 1, 1, 1, -1], [0, 0, 1, 1, -1]]
    assert torch.equal(NESTED.painted(folded, label), label)
    folded[1, 0, 0, 1] = 1
    assert NESTED.painted(folded, label).flatten().tolist() == [0, 2, 2, 3, -1]
    assert NESTED.painted(folded.clamp_min(0)).flatten().tolist() == [0, 2, 2, 2, 0]
    assert class_names(NESTED.structures) == {0: "background", 1: "whole", 2: "core", 3: "label 3"}


def test_a_voxel_is_wrong_where_any_region_is():
    assert any_of(torch.tensor([[0.5], [0.2], [0.1]])).tolist() == pytest.approx([1 - 0.5 * 0.8 * 0.9])
    alone = torch.tensor([1e-30])
    assert torch.equal(any_of([alone]), alone)


def test_the_dice_is_that_of_the_regions():
    label, truth = torch.tensor([[[0, 1, 2, 3, -1]]]), torch.tensor([[[1, 1, 2, 1, 2]]])
    assert NESTED.mean_dice(label, truth) == pytest.approx((2 * 3 / (3 + 4) + 2 * 1 / (2 + 1)) / 2)


def test_an_audit_of_regions_is_one_of_each_region_alone():
    """A disc with a core; the label misses rows of the core, and of the disc's rim, which the networks see."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:40]
    radius = np.hypot(y - 20, x - 20)
    truth = np.stack([(radius < 12) + 1 * (radius < 6)] * 3)
    given = truth.copy()
    given[:, :18][given[:, :18] == 2] = 1
    given[:, :, 26:] = 0
    evidence = 6 * np.stack([truth >= 1, truth >= 2]) - 3 + rng.normal(0, 1, (2, 3, 40, 40))
    inside = torch.from_numpy(1 / (1 + np.exp(-evidence))).float()
    label = Label(Path("case"), reading(given), torch.from_numpy(given))
    folded = NESTED.labels(label.classes)
    levels = depth_levels(folded.flatten(0, 1)).view(folded.shape)
    arguments = (Opinion(inside, inside), label, Witnesses(None), Thresholds(0.9, 0.0), 0, levels)
    found = audit_case("case", *arguments, groups=NESTED)
    doubts, proposals = [], []
    for region in range(2):
        e = torch.stack([1 - inside[region], inside[region]])
        case = (e, folded[region], levels[region])
        confusion = case_confusion(*case, usual_confusion(2))
        torch.testing.assert_close(found.confusion[region], confusion)
        belief = posterior(*case, confusion)
        doubts.append(suspicion(belief, folded[region]))
        proposals.append(torch.where(doubts[-1] >= 0.9, 1 - folded[region], folded[region]))
    torch.testing.assert_close(found.suspicion, 1 - (1 - doubts[0]) * (1 - doubts[1]))
    painted = torch.where(proposals[1] == 1, 2, proposals[0])
    assert torch.equal(found.proposal, painted) and (painted != label.classes).any()
    right = torch.from_numpy(truth)
    assert NESTED.mean_dice(found.proposal, right) > NESTED.mean_dice(label.classes, right) + 0.05
    assert len(found.scores.classes) == 2 and found.change == 1 - NESTED.mean_dice(painted, label.classes)
    row = found.numbers(class_names(NESTED.structures))
    assert list(row["class_scores"]) == ["whole", "core"] and np.shape(row["confusion"]) == (2, 2, 2)
    assert {region["given"] for region in row["regions"]} | {region["proposed"] for region in row["regions"]} == {
        "background", "whole", "core",
    }, "each is held against what is outside of it, never against the other"  # fmt: skip
