"""The posterior of the label audit, by hand values and identities."""

from __future__ import annotations

import pytest
import torch
from maths_support import confusion_record

from nnunetv2_mlbseg.audit.bayes import case_confusion, posterior, suspicion, uncertainty, usual_confusion
from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.maths.weighting.disputes import LEAST_PROBABILITY, DisputeRecord
from nnunetv2_mlbseg.maths.weighting.tied import tied_weights


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
    record = DisputeRecord(nothing, nothing, confusion_record(confusion[None] * 1e6))
    bounded = probabilities + LEAST_PROBABILITY  # as the training bounds what the network says
    (matrix,), (common,) = record.confusion.matrix, record.confusion.common
    belief = posterior(bounded / bounded.sum(0), given, levels, matrix, common.view(-1, 1, 1, 1))
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
    alone = posterior(probabilities, nowhere, levels, confusion)
    torch.testing.assert_close(alone, probabilities, atol=1e-6, rtol=0)
    assert not suspicion(alone, nowhere).any()
    prior = usual_confusion(3)
    torch.testing.assert_close(case_confusion(probabilities, nowhere, levels, prior), prior)


def test_suspicion_is_bayes_rule():
    """Network 0.3 foreground; labels miss a fifth of it, never invent it: P(fg | labelled bg) = .3*.2/(.3*.2+.7)."""
    confusion = at_every_depth(torch.tensor([[1.0, 0.0], [0.2, 0.8]]))
    probabilities = torch.tensor([0.7, 0.3]).view(2, 1, 1, 1)
    given = torch.zeros(1, 1, 1, dtype=torch.int64)
    found = suspicion(posterior(probabilities, given, torch.zeros_like(given), confusion), given)
    assert found.item() == pytest.approx(0.06 / 0.76, rel=0.01)


def test_what_networks_and_label_have_in_common_counts_once():
    """e = (0.8, 0.2), label 1, M[0, 1] = 0.1, M[1, 1] = 0.9: odds of class 1 are 0.25 * 9. A tenth is of class 1: with
    all in common its odds of 1 to 9 count beside, with kappa 1/2 a quarter of them on the scale of logarithms.
    """
    e, given = torch.tensor([[0.8], [0.2]]), torch.tensor([1])
    confusion = at_every_depth(torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    rarity = torch.tensor([0.9, 0.1]).log()
    for part, odds in ((0.0, 2.25), (1.0, 2.25 / 9), (0.25, 2.25 / 9**0.25)):
        found = posterior(e, given, torch.tensor([3]), confusion, part * rarity.unsqueeze(1))
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
    found = case_confusion(probabilities, given, any_levels(given), usual_confusion(2)).sum(2)
    torch.testing.assert_close(found.sum(1), torch.ones(2))
    assert found[1, 0].item() == pytest.approx(missing, abs=0.06)
    assert found[0, 1].item() == pytest.approx(surplus, abs=0.06)


def test_a_label_that_errs_at_one_depth_is_believed_at_the_others():
    """All errors are invented foreground, among the first level of depth."""
    probabilities, _, truth = corrupted(0.0, 0.0)
    levels = any_levels(truth)
    given = torch.where((levels == 0) & (truth == 0), 1, truth)
    confusion = case_confusion(probabilities, given, levels, usual_confusion(2))
    doubt = suspicion(posterior(probabilities, given, levels, confusion), given)
    assert confusion[0, 1, 0] > 20 * confusion[0, 1, 1:].sum()
    assert doubt[given != truth].mean() > 0.8
    assert doubt[(levels > 0) & (given == 1)].max() < 0.4


def test_a_label_that_is_mostly_confirmed_is_trusted_where_it_is_not():
    """The same doubt of the networks at the same kind of voxel weighs less against a good label."""
    suspicions = {}
    for missing in (0.0, 0.4):
        probabilities, given, truth = corrupted(missing, 0.0)
        levels = any_levels(given)
        confusion = case_confusion(probabilities, given, levels, usual_confusion(2))
        belief = posterior(probabilities, given, levels, confusion)
        doubt = suspicion(belief, given)
        suspicions[missing] = doubt[(given == 0) & (probabilities[1] > 0.5)].mean()
        if missing:
            assert doubt[given != truth].mean() > 0.5 > 0.3 > doubt[given == truth].mean()
    assert suspicions[0.0] < 0.5 < suspicions[0.4]


def test_uncertainty_runs_from_certain_to_all_classes_alike():
    found = uncertainty(torch.tensor([[1.0, 0.25, 0.5], [0.0, 0.25, 0.5], [0.0, 0.25, 0.0], [0.0, 0.25, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 0.5]))
