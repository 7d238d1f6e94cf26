"""Folds for a user's own dataset: over the clean cases, patients whole; all other training cases always train."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dataset_conversion.supervision.files import Supervision, name_some
from dataset_conversion.supervision.roles import shuffled
from noise_synthesis.safe_io.errors import InputError

DEFAULT_FOLDS = 5


def clean_folds(
    supervision: Supervision,
    count: int | None,
    *,
    seed: int,
    patient_regex: str | None = None,
    always_train: Iterable[str] = (),
) -> list[dict[str, list[str]]]:
    """Divide the clean cases into ``count`` validation sets; noisy and unlabeled cases are in every fold's training.

    Args:
        supervision: the roles.
        count: number of folds, 2 or more; None is 5, or as many as there are patients to validate on.
        seed: of the order in which patients are dealt out.
        patient_regex: its first group (or the whole match) in a case's name is the patient; without it every case is
            its own patient.
        always_train: clean cases that never validate.

    Raises:
        InputError: fewer patients than folds.
    """
    kept = set(always_train)
    validating = [case for case in supervision.clean if case not in kept]
    patients = group_by_patient(validating, patient_regex)
    count = min(DEFAULT_FOLDS, len(patients)) if count is None else count
    what = "patients with clean cases" if patient_regex else "clean cases"
    if len(patients) < 2:
        raise InputError(
            f"{len(patients)} {what} can validate, and folds need 2 or more: name more cases by --clean"
            f"{', fewer by --always-train' if kept else ''}, or other labelled cases to validate on by --evaluation"
        )
    if not 2 <= count <= len(patients):
        raise InputError(
            f"--folds {count}: {len(patients)} {what} can validate, so there can be 2 to that many folds: --folds "
            f"{min(DEFAULT_FOLDS, len(patients))}"
        )
    everything = [*supervision.clean, *supervision.noisy, *supervision.unlabeled]
    order = sorted(shuffled(patients, seed, "folds"), key=lambda patient: -len(patients[patient]))
    sides: list[list[str]] = [[] for _ in range(count)]
    for patient in order:
        min(sides, key=len).extend(patients[patient])
    folds = [{"train": sorted(set(everything) - set(side)), "val": sorted(side)} for side in sides]
    return folds


def group_by_patient(cases: Sequence[str], patient_regex: str | None) -> dict[str, list[str]]:
    """Return the cases of every patient.

    Raises:
        InputError: the expression is not one, or finds no patient in a case's name.
    """
    if patient_regex is None:
        return {case: [case] for case in cases}
    try:
        pattern = re.compile(patient_regex)
    except re.error as error:
        raise InputError(f"--patient-regex {patient_regex!r}: not a regular expression ({error})") from None
    groups: dict[str, list[str]] = {}
    for case in cases:
        match = pattern.search(case)
        patient = match and (match.group(1) if pattern.groups else match.group(0))
        if not patient:
            raise InputError(f"--patient-regex {patient_regex!r}: finds no patient in the case name {case}")
        groups.setdefault(patient, []).append(case)
    return groups


def refuse_shared_patients(folds: Sequence[dict[str, list[str]]], patient_regex: str | None, remedy: str) -> None:
    """Raise ``InputError`` if a patient has cases in both training and validation of a fold.

    Args:
        remedy: what a user can do about it, the end of the line.
    """
    if patient_regex is None:
        return
    found: dict[str, str] = {}  # by patient, what is on which side of the first such fold
    for number, fold in enumerate(folds):
        training, validation = (group_by_patient(fold[side], patient_regex) for side in ("train", "val"))
        for patient in sorted(training.keys() & validation.keys() - found.keys()):
            trains, validates = name_some(training[patient]), name_some(validation[patient])
            found[patient] = f"in fold {number} {trains} trains and {validates} validates"
    if found:
        patient = min(found)
        raise InputError(
            f"{len(found)} patients would be in both training and validation: {name_some(found)} "
            f"({patient}: {found[patient]}). {remedy}"
        )
