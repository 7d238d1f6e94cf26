"""Another network is compared with only where it never saw the audited labels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from nnunetv2_mlbseg.audit.truth import check_unseen
from nnunetv2_mlbseg.cases.roles import FoldRoles
from noise_synthesis.safe_io.errors import InputError

ROLES = {"clean": ("c0",), "noisy": (), "unlabeled": ("n0", "n1"), "validation": ("v0",)}


def compared(labels: str = "clean", names: tuple[str, ...] = ("background", "disc", "ignore"), **roles):
    """What a checkpoint of another training says, whose dataset had other roles."""
    return {
        "mlbseg": {"roles": {**ROLES, **roles}, "config": {"training_labels": labels}},
        "init_args": {"dataset_json": {"labels": {name: value for value, name in enumerate(names)}}},
    }


AUDITED = SimpleNamespace(
    roles=FoldRoles(("c0",), ("n0", "n1"), (), ("v0",)), dataset_json={"labels": {"background": 0, "disc": 1}}
)


def test_a_network_is_out_of_sample_when_it_trained_on_no_audited_case():
    check_unseen(compared(), AUDITED, Path("other.pth"))
    check_unseen(compared("bootstrapped", unlabeled=("u0",)), AUDITED, Path("other.pth"))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            compared(clean=("c0", "n1")),
            r"other.pth: trained on 1 of the 2 audited cases \(n1\), expected",
        ),
        (compared("given", noisy=("n0",)), r"trained on 1 of the 2 audited cases \(n0\)"),
        (compared("bootstrapped"), r"trained on 2 of the 2 audited cases \(n0, n1\)"),
        (compared(names=("background", "square")), r"labels {'background': 0, 'square': 1}, expected {.*'disc': 1}"),
    ],
)
def test_a_network_that_trained_on_audited_cases_or_for_other_classes_is_refused(found, message):
    with pytest.raises(InputError, match=message):
        check_unseen(found, AUDITED, Path("other.pth"))
