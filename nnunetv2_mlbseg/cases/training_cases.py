"""Which cases of a fold train, and with which labels: the method, and the baselines that take labels at face value."""

from __future__ import annotations

from collections.abc import Collection

from dataset_conversion.supervision.supervision_files import ROLES
from nnunetv2_mlbseg.cases.roles import FoldRoles

METHOD = "bootstrapped"
"""Warm-up on the clean cases, then bootstrapping from the imperfect ones. All other names mean plain training."""

TRUE = "true"
"""Every case with its true label from ``labelsTr_true``: the upper bound of a study."""

ROLES_OF = {METHOD: ROLES, "clean": ("clean",), "given": ("clean", "noisy"), TRUE: ROLES}
"""The roles whose cases train, by name. Unlabeled cases have no label to take at face value, except the true one."""


def training_cases(roles: FoldRoles, labels: str) -> tuple[str, ...]:
    """The cases of a fold that train under one of :data:`ROLES_OF`, sorted."""
    return tuple(sorted(case for role in ROLES_OF[labels] for case in getattr(roles, role)))


def who_trains(roles: FoldRoles, trains: Collection[str], because: str = "") -> str:
    """One line for the log: how many cases of each role train, and what is left out.

    Args:
        trains: The roles that do.
        because: What leaves the others out.
    """
    counts = {role: len(getattr(roles, role)) for role in ROLES}
    trained = ", ".join(f"{counts[role]} {role}" for role in ROLES if role in trains)
    left_out = ", ".join(f"{counts[role]} {role}" for role in ROLES if role not in trains and counts[role])
    line = f"Training cases: {trained}; {len(roles.validation)} validation cases"
    return f"{line}; left out{because}: {left_out}" if left_out else line


def describe(roles: FoldRoles, labels: str) -> str:
    """:func:`who_trains` under one of :data:`ROLES_OF`."""
    line = who_trains(roles, ROLES_OF[labels], f" by training_labels = {labels}")
    if labels != "clean" and training_cases(roles, labels) == roles.clean:
        line += f"; only clean cases, so training_labels = {labels} is the same as clean here"
    return line
