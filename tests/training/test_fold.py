"""The cases of a training."""

from __future__ import annotations

from types import SimpleNamespace

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.training.fold import Fold


def test_a_fold_knows_whether_unlabeled_cases_train():
    """Plain training on given labels leaves them out."""
    roles, unguarded = FoldRoles(("c0",), ("n0",), ("u0", "u1"), ("v0",)), SimpleNamespace()
    assert Fold(roles, ("c0", "u1"), unguarded).unlabeled_train
    assert not Fold(roles, ("c0", "n0"), unguarded).unlabeled_train
