"""The audit of one label: what it proposes, and whose word on the labels it takes."""

from __future__ import annotations

from dataclasses import replace

import torch
from audit_support import two_squares

from nnunetv2_mlbseg.audit.bayes import usual_confusion
from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.audit.one_case import proposed_label
from nnunetv2_mlbseg.audit.witnesses import Witnesses
from nnunetv2_mlbseg.maths.records import NoRecord
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord

THREE = LabelGroups.of_classes(3)


def test_the_proposal_replaces_only_with_strong_evidence():
    belief = torch.tensor([[0.95, 0.85, 0.05, 0.4, 0.05], [0.05, 0.15, 0.95, 0.35, 0.95], [0, 0, 0, 0.25, 0]])
    given = torch.tensor([1, 1, 1, 0, -1])
    assert proposed_label(belief, given, 0.9).tolist() == [0, 1, 1, 0, -1]
    assert proposed_label(belief, given, 0.6).tolist() == [0, 0, 1, 0, -1]


def test_a_training_that_keeps_no_record_of_its_labels_has_them_err_as_labels_usually_do():
    for record in (None, NoRecord()):
        found = Witnesses.of(record)
        torch.testing.assert_close(found.confusion(THREE)[0], usual_confusion(3))
        assert not found.common(THREE).any() and found.as_dict(THREE) is None


def test_the_record_of_a_training_says_how_its_labels_err():
    record = DisputeRecord.empty(3)
    found = Witnesses.of(record)
    torch.testing.assert_close(found.confusion(THREE), record.confusion.matrix)
    assert not found.common(THREE).any(), "what is shared is found by looking at the cases"
    assert found.as_dict(THREE) == {"confusion": record.confusion.matrix[0].sum(2).tolist()}


def test_a_case_begins_from_how_its_source_errs():
    empty = DisputeRecord.empty(3, cases=2).with_sources([0, -1])
    sources = torch.zeros_like(empty.confusion.sources)
    sources[0, 1, 2, 0] = 1e6  # this source takes class 1 for class 2
    record = replace(empty, confusion=replace(empty.confusion, sources=sources))
    known = Witnesses.of(record)
    (own,) = known.of_case(0).confusion(THREE)
    assert own[1, 2].sum() > 0.99
    for number in (1, -1):
        torch.testing.assert_close(known.of_case(number).confusion(THREE), record.confusion.matrix)


def test_of_a_class_that_no_clean_case_shows_nothing_is_judged():
    """The label lacks rows of both squares; those of class 1 are found, those of class 2 and its place stay."""
    audited, _ = two_squares("case", 3)
    found, _ = two_squares("case", 3, unshown=Unshown.of((2,), 3))
    given = audited.label.classes
    of_2 = (given == 2) | (audited.network == 2)
    assert ((audited.proposal != given) & of_2).any(), "without that they would change"
    for changed in (found.proposal != given, found.likely != given, found.suspicion > 0):
        assert not (changed & of_2).any()
    assert torch.equal(found.proposal[~of_2], audited.proposal[~of_2]) and (found.proposal != given).any()
    assert found.scores.classes[1] is None and found.scores.classes[0] is not None
    assert {2}.isdisjoint({region.given for region in found.regions} | {region.proposed for region in found.regions})
