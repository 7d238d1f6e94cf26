"""Whether corrections help or spoil: the numbers by hand, and what is said and refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.audit.one_case import CaseAudit
from nnunetv2_mlbseg.audit.prospect import RightLabels, prospect, refuse_corrections
from noise_synthesis.safe_io.errors import InputError


def unseen(case: str, network: list[int], change: float):
    """The audit of a case whose right label is 4 of 6 voxels, as far as it is looked at."""
    return SimpleNamespace(
        case=case,
        label=SimpleNamespace(classes=torch.tensor([[[0, 1, 1, 1, 1, 0]]])),
        network=torch.tensor([[network]]),
        groups=LabelGroups.of_classes(2),
        change=change,
    )


# The network's Dice is 1 and 2 * 2 / 6; right labels are changed by 0 and 0.2.
RIGHT = RightLabels.of([unseen("v0", [0, 1, 1, 1, 1, 0], 0.0), unseen("v1", [0, 1, 1, 0, 0, 0], 0.2)])
NONE = RightLabels.of([])


def noisy(*changes: float):
    return [{"score": 0.7, "change": value} for value in changes]


def test_what_changes_in_noisy_labels_is_held_against_what_changes_in_right_ones(tmp_path):
    found = prospect(noisy(0.4, 0.2), RIGHT)
    assert (found.labels, found.changed, found.right.network, found.spoiled) == pytest.approx((0.7, 0.3, 5 / 6, 0.1))
    assert found.helps is True  # 0.2 of the 0.3 are right, if 0.1 are wrong here as well
    assert found.sentence == (
        "Corrections can be expected to help: they change the noisy labels by 0.300 (1 - Dice) and right ones, of "
        "unseen validation cases (2), by 0.100. 50% of the noisy labels change more than right ones do. "
        "Estimated Dice of the noisy labels 0.700, Dice of the network on the unseen cases 0.833."
    )
    assert found.as_dict()["helps"] is True and found.as_dict()["unseen"] == {"v0": 0.0, "v1": 0.2}
    refuse_corrections(found, tmp_path)


@pytest.mark.parametrize("change", [0.15, 0.0])
def test_as_many_wrong_changes_as_right_ones_are_refused(change):
    found = prospect(noisy(change), RIGHT)
    assert found.helps is False
    with pytest.raises(InputError, match=r"new_labels: no corrected labels written. Corrections cannot .* by 0.100"):
        refuse_corrections(found, Path("new_labels"))


def test_without_unseen_right_labels_nothing_is_claimed(tmp_path):
    found = prospect(noisy(0.9), NONE)
    assert NONE.network is found.spoiled is found.helps is NONE.p_value(0.9) is None
    assert "unknown: the fold has no validation case that did not train" in found.sentence
    refuse_corrections(found, tmp_path)


def test_classes_that_no_clean_case_shows_are_named():
    found = prospect(noisy(0.4, 0.2), RIGHT, ("lesion", "cyst"))
    assert found.sentence.endswith(" 0.833. Not judged, as no clean training case shows it: lesion, cyst.")
    assert found.as_dict()["not_judged"] == ["lesion", "cyst"] and prospect(noisy(0.4), RIGHT).not_judged == ()


def correction(change: float) -> CaseAudit:
    """The audit of a label that a correction would change by ``change``, as far as it is looked at."""
    found: dict[str, Any] = dict.fromkeys(field.name for field in fields(CaseAudit))
    label = SimpleNamespace(classes=torch.tensor([0, 0, 1, 1]))
    return CaseAudit(**{**found, "label": label, "proposal": torch.tensor([0, 1, 1, 1]), "change": change})


def corrected(right: RightLabels, change: float, **options) -> bool:
    judged = right.judged(correction(change), **options)
    assert judged.p_value == right.p_value(change)
    return bool((judged.proposal != judged.label.classes).any())


def test_a_label_stays_where_right_ones_change_as_much():
    assert [RIGHT.p_value(change) for change in (0.0, 0.1, 0.2, 0.21)] == pytest.approx([1, 2 / 3, 2 / 3, 1 / 3])
    assert not corrected(RIGHT, 0.2) and corrected(RIGHT, 0.21)
    assert corrected(RIGHT, 0.0, correct_anyway=True)
    assert corrected(NONE, 0.0)


def test_of_many_right_labels_a_tenth_may_change_as_much():
    right = RightLabels({f"v{k}": k / 100 for k in range(29)}, 0.9)
    assert right.p_value(0.265) == pytest.approx(3 / 30)  # 0.27 and 0.28 change more, and the label itself counts
    assert corrected(right, 0.265) and not corrected(right, 0.26)


def test_p_values_of_right_labels_are_uniform():
    """Whatever the changes of right labels are like: a p-value of t or less has a probability of at most t."""
    changes = np.random.default_rng(0).exponential(size=(4000, 20)) ** 2
    found = [RightLabels(dict(enumerate(row[1:])), 0.9).p_value(row[0]) for row in changes]  # type: ignore
    for t in (0.05, 0.1, 0.5):
        assert np.mean(np.array(found) <= t) == pytest.approx(t, abs=0.025)
