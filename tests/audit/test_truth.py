"""Another network is compared with only where it never saw the audited labels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from nnunetv2_mlbseg.audit.truth import check_unseen
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.nnunet_plugin.mlbseg_trainers import (
    nnUNetTrainerMeanTeacher,
    nnUNetTrainerMLBSeg,
    nnUNetTrainerMLBSegAllLabels,
    nnUNetTrainerMLBSegCleanOnly,
)
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod
from noise_synthesis.safe_io.errors import InputError

ROLES = {"clean": ("c0",), "noisy": (), "unlabeled": ("n0", "n1"), "validation": ("v0",)}


def compared(
    trainer: type[nnUNetTrainerMethod] = nnUNetTrainerMLBSegCleanOnly,
    names: tuple[str, ...] = ("background", "disc", "ignore"),
    **roles: tuple[str, ...],
):
    """Another training, whose dataset had other roles."""
    settings = resolve(trainer.method.Settings, variant=trainer.variant)
    return SimpleNamespace(
        method=trainer.method_of(settings),
        settings=settings,
        roles=FoldRoles.from_dict({**ROLES, **roles}),
        dataset_json={"labels": {name: value for value, name in enumerate(names)}},
    )


AUDITED = SimpleNamespace(
    roles=FoldRoles(("c0",), ("n0", "n1"), (), ("v0",)), dataset_json={"labels": {"background": 0, "disc": 1}}
)


def test_a_network_is_out_of_sample_when_it_trained_on_no_audited_case():
    check_unseen(compared(), AUDITED, Path("other.pth"))
    check_unseen(compared(nnUNetTrainerMLBSeg, unlabeled=("u0",)), AUDITED, Path("other.pth"))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            compared(clean=("c0", "n1")),
            r"other.pth: trained on 1 of the 2 audited cases \(n1\), expected",
        ),
        (compared(nnUNetTrainerMLBSegAllLabels, noisy=("n0",)), r"trained on 1 of the 2 audited cases \(n0\)"),
        (compared(nnUNetTrainerMLBSeg), r"trained on 2 of the 2 audited cases \(n0, n1\)"),
        (compared(nnUNetTrainerMeanTeacher), r"trained on 2 of the 2 audited cases \(n0, n1\)"),  # their images
        (compared(names=("background", "square")), r"labels {'background': 0, 'square': 1}, expected {.*'disc': 1}"),
    ],
)
def test_a_network_that_trained_on_audited_cases_or_for_other_classes_is_refused(found, message):
    with pytest.raises(InputError, match=message):
        check_unseen(found, AUDITED, Path("other.pth"))
