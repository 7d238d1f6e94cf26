"""The cases of a training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.training.fold import Fold
from noise_synthesis.safe_io.errors import InputError


def test_a_fold_knows_whether_unlabeled_cases_train():
    """Plain training on given labels leaves them out."""
    roles, unguarded = FoldRoles(("c0",), ("n0",), ("u0", "u1"), ("v0",)), SimpleNamespace()
    assert Fold(roles, ("c0", "u1"), unguarded).unlabeled_train
    assert not Fold(roles, ("c0", "n0"), unguarded).unlabeled_train


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            {"background": 0, "a": 1, "b": 3},
            r"^Dataset070_Gap: dataset\.json: label values \[0, 1, 3\]; expected 0, 1, 2",
        ),
        ({"background": 0, "a": 1, "ignore": 3}, r"label values \[0, 1, 3\]"),
        ({"background": 0, "ignore": 1, "a": 2}, "'ignore' must be the highest label value"),
    ],
)
def test_label_values_that_cannot_train_are_refused_before_anything_is_built(labels, said):
    nothing = SimpleNamespace()
    with pytest.raises(InputError, match=said):
        Fold.checked("Dataset070_Gap", 0, {"labels": labels}, nothing, nothing, nothing, nothing)
