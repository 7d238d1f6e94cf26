"""Which case becomes clean, noisy, unlabeled, or is held out for evaluation.

Every draw orders the cases by a hash of (seed, purpose, name) and takes the first ones. So a larger share contains a
smaller one (the noisy cases at 25 % are among those at 50 %), the draw of one purpose does not disturb another, and a
case that joins or leaves the source does not reshuffle the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dataset_conversion.supervision.files import Supervision, name_some
from noise_synthesis.safe_io.errors import InputError

EVALUATION_SHARE = 0.2


@dataclass(frozen=True)
class Assignment:
    """What becomes of every case.

    ``supervision`` holds the training cases. ``true_labels`` are those of its noisy cases that keep their true label
    (the upper bound of the mixed-supervision study). ``evaluation`` are fold 0's validation cases, ``test`` goes to
    imagesTs.
    """

    supervision: Supervision
    evaluation: tuple[str, ...]
    true_labels: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    def splits(self) -> list[dict[str, list[str]]]:
        """Return nnU-Net's folds: one, training on every role and validating on the evaluation cases."""
        training = [case for cases in self.supervision.by_role().values() for case in cases]
        return [{"train": sorted(training), "val": sorted(self.evaluation)}]


def assign_roles(
    cases: Iterable[str],
    *,
    clean: int | Sequence[str],
    noisy_ratio: float,
    true_ratio: float = 0.0,
    evaluation: Sequence[str] | None = None,
    seed: int = 0,
    together: Sequence[Sequence[str]] = (),
    patients: Sequence[Sequence[str]] = (),
) -> Assignment:
    """Draw the roles of ``cases``.

    Args:
        cases: all identifiers, in any order.
        clean: which training cases are clean, or how many at least: they are drawn, and a group whole.
        noisy_ratio: share in [0, 1] of the non-clean training cases that get a noisy label.
        true_ratio: share in [0, 1] of the non-clean training cases that keep their true label but act as noisy. They
            follow the noisy ones in the drawn order: with ``noisy_ratio=0`` they are the cases that would be noisy at
            that ratio, and with ``noisy_ratio=1 - true_ratio`` those that would be unlabeled (the paper's Table 4).
        evaluation: held-out cases; None draws a fifth.
        seed: of all draws.
        together: groups of cases that a drawn evaluation set takes whole or not at all.
        patients: the cases of each patient: groups that drawn clean cases take whole as well. Noisy and unlabeled cases
            are drawn one by one: both train, so nothing leaks.

    Raises:
        InputError: a share outside [0, 1], more cases asked for than there are, or a listed case that does not exist.
    """
    names = sorted(set(cases))
    _check_shares(noisy_ratio, true_ratio)
    held_out = _draw_evaluation(names, seed, [*together, *patients], clean) if evaluation is None else list(evaluation)
    _check_listed(held_out, names, "evaluation")
    training = [name for name in names if name not in set(held_out)]
    if isinstance(clean, int):
        clean_cases = _draw_clean(training, held_out, clean, seed, patients)
    else:
        clean_cases = _listed_clean(training, held_out, names, clean)
    rest = shuffled((name for name in training if name not in set(clean_cases)), seed, "noisy")
    first = _share(noisy_ratio, len(rest))
    second = _share(noisy_ratio + true_ratio, len(rest))
    supervision = Supervision(
        clean=tuple(sorted(clean_cases)), noisy=tuple(sorted(rest[:second])), unlabeled=tuple(sorted(rest[second:]))
    )
    return Assignment(supervision, tuple(sorted(held_out)), true_labels=tuple(sorted(rest[first:second])))


def shuffled(cases: Iterable[str], seed: int, purpose: str) -> list[str]:
    """Return the cases in an order that depends on seed, purpose and each name alone."""
    return sorted(cases, key=lambda case: hashlib.sha256(f"{seed}/{purpose}/{case}".encode()).digest())


def _check_shares(noisy_ratio: float, true_ratio: float) -> None:
    for option, share in (("--noisy-ratio", noisy_ratio), ("--true-ratio", true_ratio)):
        if not 0 <= share <= 1:
            raise InputError(f"{option}: expected a share between 0 and 1, got {share}")
    if noisy_ratio + true_ratio > 1 + 1e-9:
        raise InputError(
            f"--noisy-ratio {noisy_ratio} and --true-ratio {true_ratio} add up to more than 1: they share the "
            "non-clean training cases"
        )


def _check_listed(listed: Iterable[str], names: Sequence[str], role: str) -> None:
    unknown = set(listed) - set(names)
    if unknown:
        raise InputError(f"{role} list: no such case in the source: {name_some(unknown)}")


def _groups(cases: Sequence[str], seed: int, purpose: str, together: Sequence[Sequence[str]]) -> list[list[str]]:
    """The groups among ``cases``, in the drawn order of their first case; a case of no group is one of its own."""
    group_of = {case: group for group in together for case in group}
    groups: dict[str, list[str]] = {}
    for case in shuffled(cases, seed, purpose):
        groups.setdefault(min(group_of.get(case, [case])), []).append(case)
    return list(groups.values())


def _draw_evaluation(
    names: Sequence[str], seed: int, together: Sequence[Sequence[str]], clean: int | Sequence[str]
) -> list[str]:
    """Draw a fifth of the cases that are not listed as clean, groups whole: the first that fit, or one that does not.

    Raises:
        InputError: every case, or a case of every group, is listed as clean.
    """
    listed_clean = set() if isinstance(clean, int) else set(clean)
    wanted = max(1, round(EVALUATION_SHARE * len(names)))
    groups = [group for group in _groups(names, seed, "evaluation", together) if listed_clean.isdisjoint(group)]
    if not groups:
        raise InputError(
            f"clean list: {len(listed_clean)} of {len(names)} cases, which leaves none to hold out (patients are held "
            "out whole); list held-out cases by --evaluation"
        )
    drawn: list[str] = []
    for group in groups:
        if len(drawn) + len(group) <= wanted:
            drawn += group
    return sorted(drawn or groups[0])


def _draw_clean(
    training: Sequence[str], held_out: Sequence[str], count: int, seed: int, patients: Sequence[Sequence[str]]
) -> list[str]:
    """Draw patients until they have ``count`` cases; one patient at least stays for noisy and unlabeled cases.

    Raises:
        InputError: so many are not there.
    """
    groups = _groups(training, seed, "clean", patients)
    most = sum(map(len, groups[:-1]))
    if patients and not most:
        raise InputError(
            f"--clean {count}: clean patients are taken whole, and all {len(training)} training cases are of one; give "
            "a file that lists the clean cases"
        )
    if not 1 <= count <= most:
        of_patients = " patient" if patients else ""
        raise InputError(
            f"--clean {count}: expected 1 to {most}, since the source has {len(training) + len(held_out)} cases of "
            f"which {len(held_out)} are for evaluation, and one{of_patients} at least must be noisy or unlabeled"
        )
    drawn: list[str] = []
    for group in groups:
        if len(drawn) < count:
            drawn += group
    return drawn


def _listed_clean(
    training: Sequence[str], held_out: Sequence[str], names: Sequence[str], clean: Sequence[str]
) -> list[str]:
    _check_listed(clean, names, "clean")
    both = set(clean) & set(held_out)
    if both:
        raise InputError(f"clean list: also in the evaluation list: {name_some(both)}")
    if not clean or len(set(clean)) >= len(training):
        raise InputError(
            f"clean list: {len(set(clean))} of {len(training)} training cases; at least one must be clean and at "
            "least one noisy or unlabeled"
        )
    return list(clean)


def _share(ratio: float, total: int) -> int:
    return min(total, int(ratio * total + 0.5))
