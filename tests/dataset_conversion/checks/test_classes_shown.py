"""Classes that no clean training case of a fold shows, by name and fold."""

from __future__ import annotations

from typing import Any

import pytest

from dataset_conversion.checks.cases import CaseFacts
from dataset_conversion.checks.sets import classes_not_shown
from dataset_conversion.supervision.files import Supervision

LABELS = {"background": 0, "organ": 1, "lesion": 2, "stone": 3, "ignore": 4}
SUPERVISION = Supervision(clean=("c0", "c1", "c2"), noisy=("n0", "n1"), unlabeled=("u0",))
VALUES = {"c0": (0, 1), "c1": (0, 1), "c2": (0, 1, 2), "n0": (0, 1, 2), "n1": (0, 1, 2), "u0": (4,), "v": (0, 3)}
FOLDS = [
    {"train": ["c1", "c2", "n0", "n1", "u0"], "val": ["c0"]},
    {"train": ["c0", "c2", "n0", "n1", "u0"], "val": ["c1"]},
    {"train": ["c0", "c1", "n0", "n1", "u0"], "val": ["c2"]},
]


def messages(splits: Any = FOLDS, **changed: Any) -> list[str]:
    facts = [CaseFacts(case, label_values=values) for case, values in {**VALUES, **changed}.items()]
    found = list(classes_not_shown(facts, SUPERVISION, splits, LABELS))
    assert all((one.severity, one.kind) == ("warning", "class not shown") for one in found)
    return [one.message for one in found]


def test_the_only_clean_case_with_a_class_validates_in_one_fold():
    lesion, stone = messages()
    assert lesion == (
        "class lesion: no clean training case of fold 2 shows it; only noisy labels teach it there, as they are; make "
        "a case clean that shows it"
    )
    assert stone == (
        "class stone: no clean or noisy training case of folds 0, 1, 2 shows it; no training learns it there"
    )


def test_all_folds_where_no_clean_case_has_it_and_none_where_two_do():
    assert "of folds 0, 1, 2 shows it; only noisy" in messages(c2=(0, 1))[0]
    assert len(messages(c1=(0, 1, 2))) == 1, "the class of no label is left"
    assert messages(c0=(0, 1, 2, 3), c1=(0, 1, 2, 3)) == []


def test_a_class_that_noisy_labels_lack_too_is_learned_by_no_training():
    assert "lesion: no clean or noisy training case of fold 2 shows it" in messages(n0=(0, 1), n1=(0, 1))[0]


@pytest.mark.parametrize("splits", [None, "folds", [{"train": ["n0", "n1"], "val": ["c0"]}], [{"train": 1}]])
def test_without_folds_or_clean_cases_in_them_there_is_nothing_to_say(splits):
    assert messages(splits) == []


def test_a_label_that_cannot_be_read_may_show_any_class():
    """Without it the classes are missing in the fold that it validates in, and known to be."""
    assert messages(c0=None) == [
        "class stone: no clean or noisy training case of fold 0 shows it; no training learns it there"
    ]


def test_without_roles_there_is_nothing_to_say():
    assert list(classes_not_shown([], None, FOLDS, LABELS)) == []
