"""Which case becomes clean, noisy, unlabeled, or is held out for evaluation.

Every draw orders the cases by a hash of (seed, purpose, name) and takes the first ones. So a larger share contains a
smaller one (the noisy cases at 25 % are among those at 50 %), the draw of one purpose does not disturb another, and a
case that joins or leaves the source does not reshuffle the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_conversion.supervision.files import Supervision, name_some
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json

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
) -> Assignment:
    """Draw the roles of ``cases``.

    Args:
        cases: all identifiers, in any order.
        clean: how many training cases are clean (drawn), or which.
        noisy_ratio: share in [0, 1] of the non-clean training cases that get a noisy label.
        true_ratio: share in [0, 1] of the non-clean training cases that keep their true label but act as noisy. They
            follow the noisy ones in the drawn order: with ``noisy_ratio=0`` they are the cases that would be noisy at
            that ratio, and with ``noisy_ratio=1 - true_ratio`` those that would be unlabeled (the paper's Table 4).
        evaluation: held-out cases; None draws a fifth.
        seed: of all draws.
        together: groups of cases that a drawn evaluation set takes whole or not at all.

    Raises:
        InputError: a share outside [0, 1], more cases asked for than there are, or a listed case that does not exist.
    """
    names = sorted(set(cases))
    _check_shares(noisy_ratio, true_ratio)
    held_out = _draw_evaluation(names, seed, together, clean) if evaluation is None else list(evaluation)
    _check_listed(held_out, names, "evaluation")
    training = [name for name in names if name not in set(held_out)]
    clean_cases = _choose_clean(training, held_out, names, clean, seed)
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


def read_case_list(path: str | Path) -> list[str]:
    """Read case identifiers from a text file (one a line, ``#`` starts a comment) or a JSON list.

    Raises:
        InputError: no such file, nothing in it, or a name listed twice.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        names = read_json(path)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path}: expected a JSON list of case names")
    else:
        names = _read_lines(path)
    if not names:
        raise InputError(f"{path}: no case in this list")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"{path}: listed more than once: {name_some(twice)}")
    return names


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a list of cases ({error})") from None
    return [name for name in (line.split("#")[0].strip() for line in lines) if name]


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


def _draw_evaluation(
    names: Sequence[str], seed: int, together: Sequence[Sequence[str]], clean: int | Sequence[str]
) -> list[str]:
    """Draw a fifth of the cases that are not listed as clean, groups whole: the first that fit, or one that does not.

    Raises:
        InputError: every case, or a case of every group, is listed as clean.
    """
    listed_clean = set() if isinstance(clean, int) else set(clean)
    wanted = max(1, round(EVALUATION_SHARE * len(names)))
    group_of = {case: set(group) & set(names) for group in together for case in group}
    groups = [group_of.get(case, {case}) for case in shuffled(names, seed, "evaluation")]
    groups = [group for group in groups if not group & listed_clean]
    if not groups:
        raise InputError(
            f"clean list: {len(listed_clean)} of {len(names)} cases, which leaves none to hold out (patients are held "
            "out whole); list held-out cases by --evaluation"
        )
    drawn: set[str] = set()
    for group in groups:
        if not group & drawn and len(drawn) + len(group) <= wanted:
            drawn |= group
    return sorted(drawn or groups[0])


def _choose_clean(
    training: Sequence[str], held_out: Sequence[str], names: Sequence[str], clean: int | Sequence[str], seed: int
) -> list[str]:
    if isinstance(clean, int):
        if not 1 <= clean < len(training):
            raise InputError(
                f"--clean {clean}: expected 1 to {len(training) - 1}, since the source has {len(names)} cases of which "
                f"{len(held_out)} are for evaluation, and one at least must be noisy or unlabeled"
            )
        return shuffled(training, seed, "clean")[:clean]
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
