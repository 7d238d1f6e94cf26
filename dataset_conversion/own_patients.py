"""Patients whose cases would train and validate at once, and which options keep them apart."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from dataset_conversion.supervision.files import ROLES, Supervision, name_some, problems
from dataset_conversion.supervision.folds import clean_folds, group_by_patient
from noise_synthesis.safe_io.errors import InputError

Folds = list[dict[str, list[str]]]


@dataclass(frozen=True)
class Layout:
    """Who trains, who validates, and how the folds are made.

    With ``evaluation`` cases there is one fold, which validates on them. Otherwise the folds go over the clean cases
    but for those ``kept`` in training. ``folds``, ``seed`` and ``patient_regex`` are those of `clean_folds`.
    """

    supervision: Supervision
    evaluation: tuple[str, ...] = ()
    kept: frozenset[str] = field(default_factory=frozenset)
    folds: int | None = None
    seed: int = 0
    patient_regex: str | None = None

    @property
    def validating(self) -> list[str]:
        """The cases that validate, each in some fold."""
        return list(self.evaluation) or [case for case in self.supervision.clean if case not in self.kept]

    @property
    def always_training(self) -> list[str]:
        """The cases that train in every fold."""
        training = [case for cases in self.supervision.by_role().values() for case in cases]
        return sorted(set(training) - set(self.validating))

    def without(self, cases: Iterable[str]) -> Layout:
        """The same, some cases left out."""
        left = set(cases)
        roles = {role: tuple(c for c in getattr(self.supervision, role) if c not in left) for role in ROLES}
        return replace(
            self,
            supervision=Supervision(**roles),
            evaluation=tuple(case for case in self.evaluation if case not in left),
            kept=self.kept - left,
        )

    def divided(self) -> Folds:
        """The folds.

        Raises:
            InputError: fewer patients than folds, or one on both sides of a fold; the line names options that help.
        """
        self._refuse_shared_patients()
        if self.evaluation:
            return [{"train": self.always_training, "val": list(self.evaluation)}]
        return clean_folds(
            self.supervision, self.folds, seed=self.seed, patient_regex=self.patient_regex, always_train=self.kept
        )

    def shared_patients(self) -> dict[str, tuple[list[str], list[str]]]:
        """By patient on both sides of a fold: the cases that train, and those that validate."""
        if self.patient_regex is None:
            return {}
        sides = [group_by_patient(cases, self.patient_regex) for cases in (self.always_training, self.validating)]
        return {patient: (sides[0][patient], sides[1][patient]) for patient in sorted(sides[0].keys() & sides[1])}

    def _refuse_shared_patients(self) -> None:
        shared = self.shared_patients()
        if not shared:
            return
        patient, (trains, validates) = next(iter(shared.items()))
        ways = list(_ways_out(self, shared))
        raise InputError(
            f"{len(shared)} patients would be in both training and validation: {name_some(shared)} ({patient}: "
            f"{name_some(trains)} trains, {name_some(validates)} validates). "
            + (f"Add {', or '.join(ways)}" if ways else _last_resort(self, trains, validates))
        )

    def works(self) -> bool:
        """Whether folds can be made, and a training on each."""
        try:
            folds = self.divided() if not self.shared_patients() else []
        except InputError:
            return False
        cases = {*self.always_training, *self.validating}
        return bool(folds) and not problems(self.supervision, folds, cases)


def _ways_out(layout: Layout, shared: dict[str, tuple[list[str], list[str]]]) -> Iterator[str]:
    """Options that keep patients apart, each tried before it is named."""
    trains, validates = ([case for sides in shared.values() for case in sides[side]] for side in (0, 1))
    tries = [([], trains), ([], validates)] if layout.evaluation else [(validates, []), ([], trains)]
    found = [way for kept, left_out in tries for way in _try(layout, kept, left_out)]
    if not found and not layout.evaluation:
        patients = list(shared)  # some of them validate, the others are kept in training
        for count in sorted(range(1, len(patients)), key=lambda count: abs(2 * count - len(patients))):
            kept = [case for patient in patients[count:] for case in shared[patient][1]]
            left_out = [case for patient in patients[:count] for case in shared[patient][0]]
            found = list(_try(layout, kept, left_out))
            if found:
                break
    yield from found


def _try(layout: Layout, kept: list[str], left_out: list[str]) -> Iterator[str]:
    """The options that change a layout, if they help; with another number of folds if one was asked for."""
    changed = replace(layout.without(left_out), kept=layout.kept.union(kept) - set(left_out))
    options = [("--always-train", kept), ("--exclude", left_out)]
    if layout.evaluation and not changed.evaluation:
        return
    text = " ".join(f"{option} {shlex.join(cases)}" for option, cases in options if cases)
    fewer = replace(changed, folds=None)
    if changed.works():
        yield text
    elif fewer.works():
        yield f"{text} --folds {len(fewer.divided())}"


def _last_resort(layout: Layout, trains: list[str], validates: list[str]) -> str:
    if layout.evaluation:
        return "Without them nothing is left to train or to validate on: name cases of other patients by --evaluation"
    apart = Layout(
        Supervision(
            **{role: tuple(set(cases) - set(validates)) for role, cases in layout.supervision.by_role().items()}
        ),
        evaluation=tuple(validates),
    ).without(trains)
    if apart.works():
        return (
            f"No folds are left over the others: name {shlex.join(validates)} by --evaluation instead of --clean, and "
            f"add --exclude {shlex.join(trains)}"
        )
    return "No other patient could validate or train: a second patient with clean cases, or with noisy ones, is needed"
