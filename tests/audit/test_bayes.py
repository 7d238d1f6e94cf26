"""Posterior, scores, proposals and regions of the label audit, by hand values and identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nnunetv2_mlbseg.audit.bayes import case_confusion, posterior, suspicion, uncertainty, usual_confusion
from nnunetv2_mlbseg.audit.case_scores import label_scores
from nnunetv2_mlbseg.audit.proposal import proposed_label
from nnunetv2_mlbseg.audit.regions import Geometry, find_regions
from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.maths.weighting.tied import LEAST_PROBABILITY, DisputeRecord, tied_weights

INDEPENDENT = {classes: torch.zeros(classes) for classes in (2, 3)}
GEOMETRY = Geometry((0.5, 1.0, 3.0), (10.0, 20.0, 30.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def at_every_depth(matrix: torch.Tensor) -> torch.Tensor:
    """(C, C) to (C, C, D): labels that err alike at every depth."""
    return matrix.unsqueeze(2).repeat(1, 1, LEVELS) / LEVELS


def any_levels(given: torch.Tensor) -> torch.Tensor:
    return torch.randint(LEVELS, given.shape, generator=torch.Generator().manual_seed(7))


def random_case(classes: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(classes, 3, 8, 9, generator=generator).pow(3)
    given = torch.randint(-1, classes, (3, 8, 9), generator=generator)
    confusion = 0.3 + torch.rand(classes, classes, LEVELS, generator=generator) + torch.eye(classes).unsqueeze(2)
    confusion /= confusion.sum((1, 2), keepdim=True)
    return probabilities / probabilities.sum(0), given, any_levels(given), confusion


@pytest.mark.parametrize("classes", [2, 4])
def test_the_odds_of_given_and_pseudo_label_are_those_the_training_weighs_with(classes):
    """As long as the clean batches prefer neither label (no gain), and but for what is added before logarithms."""
    probabilities, given, levels, confusion = random_case(classes)
    nothing = torch.zeros(2, classes, classes)
    record = DisputeRecord(nothing, nothing, ConfusionRecord(confusion * 1e6, torch.zeros(0, *confusion.shape)))
    bounded = probabilities + LEAST_PROBABILITY  # as the training bounds what the network says
    belief = posterior(bounded / bounded.sum(0), given, levels, record.confusion.matrix, record.confusion.common)
    pseudo = probabilities.argmax(0)
    labels = ImperfectLabels(given[None], levels[None], torch.zeros(1, dtype=torch.bool), torch.tensor([-1]))
    share, _ = tied_weights(record, labels, pseudo[None], probabilities[None], 3.0)
    disputed = (given >= 0) & (given != pseudo)
    own, other = (belief.gather(0, labels.clamp_min(0)[None])[0] for labels in (given, pseudo))
    torch.testing.assert_close((own / (own + other))[disputed], share[0][disputed], atol=5e-3, rtol=0)
    torch.testing.assert_close(belief.sum(0), torch.ones_like(given, dtype=torch.float32))


def test_without_a_label_the_networks_speak_alone():
    probabilities, given, levels, confusion = random_case(3)
    nowhere = torch.full_like(given, -1)
    alone = posterior(probabilities, nowhere, levels, confusion, INDEPENDENT[3])
    torch.testing.assert_close(alone, probabilities, atol=1e-6, rtol=0)
    assert not suspicion(alone, nowhere).any()
    prior = usual_confusion(3)
    torch.testing.assert_close(case_confusion(probabilities, nowhere, levels, prior, INDEPENDENT[3]), prior)


def test_suspicion_is_bayes_rule():
    """Network 0.3 foreground; labels miss a fifth of it, never invent it: P(fg | labelled bg) = .3*.2/(.3*.2+.7)."""
    confusion = at_every_depth(torch.tensor([[1.0, 0.0], [0.2, 0.8]]))
    probabilities = torch.tensor([0.7, 0.3]).view(2, 1, 1, 1)
    given = torch.zeros(1, 1, 1, dtype=torch.int64)
    found = suspicion(posterior(probabilities, given, torch.zeros_like(given), confusion, INDEPENDENT[2]), given)
    assert found.item() == pytest.approx(0.06 / 0.76, rel=0.01)


def test_what_networks_and_label_have_in_common_counts_once():
    """e = (0.8, 0.2), label 1, M[0, 1] = 0.1, M[1, 1] = 0.9: odds of class 1 are 0.25 * 9. A tenth is of class 1: with
    all in common its odds of 1 to 9 count beside, with kappa 1/2 a quarter of them on the scale of logarithms.
    """
    e, given = torch.tensor([[0.8], [0.2]]), torch.tensor([1])
    confusion = at_every_depth(torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    rarity = torch.tensor([0.9, 0.1]).log()
    for part, odds in ((0.0, 2.25), (1.0, 2.25 / 9), (0.25, 2.25 / 9**0.25)):
        found = posterior(e, given, torch.tensor([3]), confusion, part * rarity)
        assert float(found[1]) == pytest.approx(odds / (1 + odds), abs=1e-5)


def test_small_suspicions_are_told_apart():
    """1 - own would be 0 for both in float32."""
    belief = torch.tensor([[1.0, 1.0], [1e-9, 3e-9]])
    torch.testing.assert_close(suspicion(belief, torch.zeros(2, dtype=torch.int64)), torch.tensor([1e-9, 3e-9]))


def test_the_usual_confusion_has_rows_of_probabilities():
    found = usual_confusion(3).sum(2)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    torch.testing.assert_close(found[0], torch.tensor([0.99, 0.005, 0.005]))
    torch.testing.assert_close(found[2], torch.tensor([0.05, 0.05, 0.9]))


def corrupted(missing: float, surplus: float):
    """80,000 voxels of which a quarter is of class 1; probabilities that are true, and a label that errs by chance."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([0.01] * 6 + [0.2] + [0.8] + [0.99] * 2)
    foreground = levels[torch.randint(10, (20, 40, 100), generator=generator)]
    truth = (torch.rand(foreground.shape, generator=generator) < foreground).long()
    change = torch.rand(truth.shape, generator=generator) < torch.where(truth == 1, missing, surplus)
    return torch.stack([1 - foreground, foreground]), torch.where(change, 1 - truth, truth), truth


@pytest.mark.parametrize(("missing", "surplus"), [(0.4, 0.0), (0.05, 0.2), (0.0, 0.0)])
def test_how_a_label_errs_is_found_from_the_label_itself(missing, surplus):
    probabilities, given, _ = corrupted(missing, surplus)
    found = case_confusion(probabilities, given, any_levels(given), usual_confusion(2), INDEPENDENT[2]).sum(2)
    torch.testing.assert_close(found.sum(1), torch.ones(2))
    assert found[1, 0].item() == pytest.approx(missing, abs=0.06)
    assert found[0, 1].item() == pytest.approx(surplus, abs=0.06)


def test_a_label_that_errs_at_one_depth_is_believed_at_the_others():
    """All errors are invented foreground, among the first level of depth."""
    probabilities, _, truth = corrupted(0.0, 0.0)
    levels = any_levels(truth)
    given = torch.where((levels == 0) & (truth == 0), 1, truth)
    confusion = case_confusion(probabilities, given, levels, usual_confusion(2), INDEPENDENT[2])
    doubt = suspicion(posterior(probabilities, given, levels, confusion, INDEPENDENT[2]), given)
    assert confusion[0, 1, 0] > 20 * confusion[0, 1, 1:].sum()
    assert doubt[given != truth].mean() > 0.8
    assert doubt[(levels > 0) & (given == 1)].max() < 0.4


def test_a_label_that_is_mostly_confirmed_is_trusted_where_it_is_not():
    """The same doubt of the networks at the same kind of voxel weighs less against a good label."""
    suspicions = {}
    for missing in (0.0, 0.4):
        probabilities, given, truth = corrupted(missing, 0.0)
        levels = any_levels(given)
        confusion = case_confusion(probabilities, given, levels, usual_confusion(2), INDEPENDENT[2])
        belief = posterior(probabilities, given, levels, confusion, INDEPENDENT[2])
        doubt = suspicion(belief, given)
        suspicions[missing] = doubt[(given == 0) & (probabilities[1] > 0.5)].mean()
        if missing:
            assert doubt[given != truth].mean() > 0.5 > 0.3 > doubt[given == truth].mean()
    assert suspicions[0.0] < 0.5 < suspicions[0.4]


def test_uncertainty_runs_from_certain_to_all_classes_alike():
    found = uncertainty(torch.tensor([[1.0, 0.25, 0.5], [0.0, 0.25, 0.5], [0.0, 0.25, 0.0], [0.0, 0.25, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 0.5]))


def test_with_certain_beliefs_the_scores_are_dice_coefficients():
    truth = torch.zeros(3, 4, 4, dtype=torch.int64)
    truth[0, :2] = 1  # 8 voxels in slice 0
    truth[1, 0, 0] = 1
    given = torch.zeros_like(truth)
    given[0, 0] = 1  # 4 of the 8; nothing in slice 1
    belief = torch.nn.functional.one_hot(truth, 2).movedim(-1, 0).float()
    scores = label_scores(belief, given, axis=0)
    assert scores.case == pytest.approx(2 * 4 / (4 + 9))
    assert scores.slices == (pytest.approx(2 * 4 / 12), 0.0, None)
    turned = label_scores(belief.transpose(1, 3), given.transpose(0, 2), axis=2)
    assert turned.slices == scores.slices
    unknown = given.clone()
    unknown[0, 1], unknown[1] = -1, -1
    assert label_scores(belief, unknown, axis=0).case == 1.0


def test_a_class_without_part_is_left_out_of_the_mean():
    belief = torch.zeros(3, 1, 2, 2)
    belief[1] = 0.8
    belief[2] = 0.2  # nowhere the most probable
    scores = label_scores(belief, torch.ones(1, 2, 2, dtype=torch.int64), axis=0)
    assert scores.classes == (pytest.approx(2 * 3.2 / 7.2), None)
    assert scores.case == scores.classes[0]


def test_the_proposal_replaces_only_with_strong_evidence():
    belief = torch.tensor([[0.95, 0.85, 0.05, 0.4, 0.05], [0.05, 0.15, 0.95, 0.35, 0.95], [0, 0, 0, 0.25, 0]])
    given = torch.tensor([1, 1, 1, 0, -1])
    assert proposed_label(belief, given, 0.9).tolist() == [0, 1, 1, 0, -1]
    assert proposed_label(belief, given, 0.6).tolist() == [0, 0, 1, 0, -1]


def shapes():
    """A given label and a better one: an object missing, one too many, a boundary too far in and one too far out."""
    given, better = np.zeros((2, 4, 20, 40), np.int64)
    given[1:3, 8:12, 4:8], better[1:3, 8:12, 4:11] = 1, 1  # 3 voxels of 0.5 mm short
    given[1:3, 8:14, 20:24], better[1:3, 8:12, 20:24] = 1, 1  # 2 voxels of 1 mm too far
    better[0, 1:3, 1:3] = 1
    given[3, 17:19, 30:36] = 1
    given[3, 1:4, 36:39], better[3, 1:4, 36:39] = 1, 2
    return given, better


def test_regions_have_kind_size_shift_and_place():
    given, better = shapes()
    found = find_regions(given, better, np.full(given.shape, 0.75), GEOMETRY)
    by_kind = {(region.kind, region.proposed, region.voxels): region for region in found}
    assert set(by_kind) == {
        ("boundary", 1, 24), ("boundary", 0, 16), ("surplus", 0, 12), ("other class", 2, 9), ("missing", 1, 4),
    }  # fmt: skip
    assert [region.voxels for region in found] == [24, 16, 12, 9, 4]
    assert by_kind["boundary", 1, 24].shift_mm == pytest.approx(1.5)
    assert by_kind["boundary", 0, 16].shift_mm == pytest.approx(-2.0)
    missing = by_kind["missing", 1, 4]
    assert missing.size_mm3 == pytest.approx(4 * 1.5)
    assert missing.centroid_mm == pytest.approx((10 + 1.5 * 0.5, 20 + 1.5, 30))
    assert (missing.worst_slice, missing.slices, missing.shift_mm) == (0, (0, 0), None)
    assert missing.suspicion == pytest.approx(0.75)


def test_small_regions_and_voxels_without_label_are_left_out():
    given, better = shapes()
    assert {r.voxels for r in find_regions(given, better, given * 0.5, GEOMETRY, smallest_mm3=20)} == {24, 16}
    assert find_regions(np.full_like(given, -1), better, given * 0.5, GEOMETRY) == []
    assert find_regions(given, given, given * 0.5, GEOMETRY) == []


def test_shifts_agree_with_a_distance_taken_by_brute_force():
    rng = np.random.default_rng(0)
    given = np.zeros((3, 12, 12), np.int64)
    given[:, 3:6, 3:6] = 1
    better = given.copy()
    better[1, 6:9, 4:10] = 1
    (region,) = find_regions(given, better, rng.random(given.shape), GEOMETRY)
    inside, outside = np.argwhere(given == 1), np.argwhere((given == 0) & (better == 1))
    steps = (outside[:, None] - inside[None]) * np.array([3.0, 1.0, 0.5])
    assert region.shift_mm == pytest.approx(np.sqrt((steps**2).sum(-1)).min(1).max())
    assert math.isclose(region.size_mm3, 18 * 1.5)


def test_positions_follow_the_direction_of_the_header():
    turned = Geometry((1.0, 2.0, 3.0), (0.0, 0.0, 0.0), (0, -1, 0, 1, 0, 0, 0, 0, 1))
    assert turned.position_mm((1, 1, 1)) == pytest.approx((-2, 1, 3))
