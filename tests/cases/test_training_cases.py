"""Which cases of a fold train, by the labels that are taken at face value, and what the log says about it."""

from __future__ import annotations

import pytest

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.cases.training_cases import describe, training_cases

ROLES = FoldRoles(clean=("c0", "c1"), noisy=("a0",), unlabeled=("u0", "b1"), validation=("v0",))


@pytest.mark.parametrize(
    ("labels", "cases", "words"),
    [
        ("bootstrapped", ("a0", "b1", "c0", "c1", "u0"), "2 clean, 1 noisy, 2 unlabeled; 1 validation cases"),
        ("clean", ("c0", "c1"), "2 clean; 1 validation cases; left out by training_labels = clean: 1 noisy, 2 unl"),
        ("given", ("a0", "c0", "c1"), "2 clean, 1 noisy; 1 validation cases; left out by training_labels = given: 2 u"),
        ("true", ("a0", "b1", "c0", "c1", "u0"), "2 clean, 1 noisy, 2 unlabeled; 1 validation cases"),
    ],
)
def test_which_cases_train(labels, cases, words):
    assert training_cases(ROLES, labels) == cases
    assert words in describe(ROLES, labels)


@pytest.mark.parametrize("labels", ["given", "true"])
def test_the_log_says_when_a_baseline_is_clean_training(labels):
    only_clean = FoldRoles(clean=("c0",), noisy=(), unlabeled=(), validation=("v0",))
    assert f"training_labels = {labels} is the same as clean here" in describe(only_clean, labels)
    assert "the same as" not in describe(ROLES, labels)
