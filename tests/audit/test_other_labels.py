"""Further labels in the audit: they speak before the label under audit is judged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from audit_support import two_squares

from nnunetv2_mlbseg.audit.bayes import case_confusion, posterior, usual_confusion
from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.one_case import Thresholds, audit_case
from nnunetv2_mlbseg.audit.other_labels import OtherLabel, heard
from nnunetv2_mlbseg.audit.weight_maps import seen_case, with_others
from nnunetv2_mlbseg.audit.witnesses import Witnesses
from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord

THREE = LabelGroups.of_classes(3)


def _other(given: torch.Tensor, kind: int = 1) -> OtherLabel:
    return OtherLabel(kind, given[None], depth_levels(given)[None], Witnesses(None))


def _case() -> tuple[torch.Tensor, torch.Tensor]:
    """What unsure networks say (1, C, *S), and the truth."""
    truth = torch.zeros(2, 16, 16, dtype=torch.int64)
    truth[:, 4:12, 3:8], truth[:, 4:12, 8:13] = 1, 2
    noise = torch.randn(3, *truth.shape, generator=torch.Generator().manual_seed(1))
    return (1.5 * torch.nn.functional.one_hot(truth, 3).movedim(3, 0) + noise).softmax(0)[None], truth


def test_without_further_labels_nothing_is_heard():
    both, _ = _case()
    assert heard(both, (), THREE) is both


def test_each_label_multiplies_what_is_known_by_its_own_matrix():
    both, truth = _case()
    others = [_other(truth), _other(torch.where(truth == 2, 0, truth), 2)]
    found, expected = heard(both, others, THREE), both[0]
    for other in others:
        label = other.given[0], other.levels[0]
        matrix = case_confusion(both[0], *label, usual_confusion(3))
        expected = posterior(expected, *label, matrix)
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))
    assert (found[0].argmax(0) == truth).float().mean() > (both[0].argmax(0) == truth).float().mean() + 0.1


def test_where_a_further_label_is_missing_or_of_a_class_that_is_not_judged_it_says_nothing():
    both, truth = _case()
    found = heard(both, [_other(torch.full_like(truth, IGNORE))], THREE)
    torch.testing.assert_close(found, both, rtol=1e-4, atol=1e-6)
    found = heard(both, [_other(truth)], THREE, Unshown.of((2,), 3))
    of_2 = (truth == 2).expand_as(found)
    torch.testing.assert_close(found[of_2], both[of_2], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found[~of_2], both[~of_2])


@pytest.mark.parametrize(("confirms", "sign"), [("the label", -1), ("the truth", 1)])
def test_a_second_reader_makes_a_wrong_label_more_or_less_suspicious(confirms, sign):
    """Networks that are not sure; the label lacks rows of a square."""
    audited, _ = two_squares("case", 3)
    given = audited.label.classes
    truth = audited.network
    unsure = (audited.probabilities.log() / 4).softmax(0)
    arguments = ("case", Opinion(unsure, unsure), audited.label, Witnesses(None), Thresholds(0.85, 0.0), 0)
    levels = depth_levels(given)[None]
    other = _other(given if confirms == "the label" else truth)
    alone = audit_case(*arguments, levels)
    both = audit_case(*arguments, levels, others=[other])
    wrong = given != truth
    assert sign * float(both.suspicion[wrong].mean() - alone.suspicion[wrong].mean()) > 0.02


def test_weight_maps_are_of_what_all_labels_say_together():
    both, truth = _case()
    record = DisputeRecord.empty(3, cases=4).with_sources([0, 0, 1, 1])
    levels = depth_levels(truth)[None]
    seen = seen_case(both, torch.where(truth == 1, 0, truth)[None], levels, number=1)
    found = with_others(seen, [_other(truth)], record, noisy=2)
    assert [one.case.tolist() for one in found.imperfect.witnesses] == [[1], [3]]
    assert torch.equal(found.imperfect.witnesses[0].classes, seen.imperfect.classes)
    assert torch.equal(found.imperfect.witnesses[1].classes, truth[None])
    same = with_others(seen, [replace(_other(truth), given=seen.imperfect.classes)], record, noisy=2)
    assert torch.equal(same.imperfect.classes, seen.imperfect.classes)
