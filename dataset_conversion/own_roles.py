"""What ``mlbseg split`` is told about a user's cases, turned into roles and folds."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from dataset_conversion.own_patients import Layout
from dataset_conversion.raw.dataset import RawCase, RawDataset
from dataset_conversion.supervision.case_lists import choose_cases
from dataset_conversion.supervision.case_names import refuse_bad_names
from dataset_conversion.supervision.files import ROLES, Supervision, name_some, problems
from dataset_conversion.supervision.sources import choose_sources
from noise_synthesis.safe_io.errors import InputError

REST = "rest"


@dataclass(frozen=True)
class Split:
    """Roles, evaluation cases and folds for a dataset, and the sources of its noisy labels where they are known."""

    supervision: Supervision
    evaluation: tuple[str, ...]
    folds: Sequence[Mapping[str, list[str]]]
    options: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)


def draw_split(
    names: Sequence[str],
    chosen: Mapping[str, Sequence[str]],
    added: Sequence[str],
    *,
    folds: int | None,
    seed: int,
    patient_regex: str | None,
    always_train: Sequence[str],
    exclude: Sequence[str] = (),
    sources: Sequence[Sequence[str]] = (),
    former: Collection[str] = (),
) -> Split:
    """Turn the options of the command into roles and folds; see ``choose_roles``, ``Layout`` and ``choose_sources``.

    With evaluation cases there is one fold, which validates on them; otherwise the folds go over the clean cases.
    Excluded cases have no role, whatever the other options say of them. ``former``: the cases with a former label.

    Raises:
        InputError: the options contradict each other or the dataset.
    """
    left_out = choose_cases("--exclude", exclude, [*names, *added])
    roles = choose_roles(names, chosen, added, left_out)
    evaluation = tuple(roles.get("evaluation", ()))
    if evaluation and folds is not None:
        raise InputError("--folds divides the clean cases, --evaluation names other validation cases; give one")
    if evaluation and always_train:
        raise InputError("--always-train is for folds; with --evaluation every clean case trains, so leave it out")
    layout = Layout(
        Supervision(**{role: tuple(roles.get(role, ())) for role in ROLES}),
        evaluation,
        frozenset(choose_cases("--always-train", always_train, roles.get("clean", []))),
        folds,
        seed,
        patient_regex,
    ).without(left_out)
    _refuse_two_roles(layout)
    divided = layout.divided()
    options = {"seed": seed, "patient_regex": patient_regex}
    of_labels = choose_sources(sources, names, layout.supervision, left_out, former)
    split = Split(layout.supervision, layout.evaluation, divided, options, of_labels)
    _check(split, set(names).union(added).difference(left_out))
    return split


def choose_roles(
    names: Sequence[str], chosen: Mapping[str, Sequence[str]], added: Sequence[str], exempt: Collection[str] = ()
) -> dict[str, list[str]]:
    """Resolve what the user gave for each role (and for "evaluation"): see ``choose_cases``, or the word ``rest``.

    Args:
        names: all cases of the dataset.
        chosen: per role the texts given: the path of a list, or a pattern such as ``siteA_*`` for case names.
        added: cases from --unlabeled-images; they are unlabeled.
        exempt: cases that need no role.

    Raises:
        InputError: something that is neither file nor pattern of any case, or a case left without a role.
    """
    roles = {
        role: choose_cases(f"--{role}", [text for text in texts if text != REST], names)
        for role, texts in chosen.items()
    }
    waiting = [role for role, texts in chosen.items() if REST in texts]
    if len(waiting) > 1:
        raise InputError(f"'{REST}' given for {' and '.join(waiting)}; only one role can take the rest")
    taken = {case for cases in roles.values() for case in cases}.union(exempt)
    left = [name for name in names if name not in taken]
    if waiting:
        roles[waiting[0]] += left
    elif left:
        raise InputError(
            f"{len(left)} cases have no role: {name_some(left)}; name them with --clean, --noisy, --unlabeled, "
            f"--evaluation or --exclude, where the word '{REST}' stands for all cases not named otherwise"
        )
    roles["unlabeled"] = [*roles.get("unlabeled", []), *added]
    return roles


def unlabeled_images(folder: Path, dataset: RawDataset) -> list[RawCase]:
    """Return the cases in a folder of images: ``<case>_0000<ending>`` and so on, or ``<case><ending>`` for one channel.

    Raises:
        InputError: no such folder, no image in it, a name the dataset has already, or wrong channels.
    """
    if not folder.is_dir():
        raise InputError(f"--unlabeled-images {folder}: no such folder")
    ending = dataset.file_ending
    files = sorted(p for p in folder.iterdir() if p.name.endswith(ending) and not p.name.startswith("."))
    if not files:
        raise InputError(f"--unlabeled-images {folder}: no file that ends in {ending}, as the dataset's images do")
    cases: dict[str, dict[int, Path]] = {}
    for path in files:
        name, channel = _name_and_channel(path.name[: -len(ending)], dataset.files_per_case)
        cases.setdefault(name, {})[channel] = path
    refuse_bad_names(list(cases), f"--unlabeled-images {folder}")
    known = set(cases) & set(dataset.names)
    if known:
        raise InputError(f"--unlabeled-images {folder}: the dataset has cases of this name already: {name_some(known)}")
    for name, channels in cases.items():
        if sorted(channels) != list(range(dataset.files_per_case)):
            raise InputError(
                f"--unlabeled-images {folder}: case {name} has channels {sorted(channels)}; the dataset needs "
                f"{list(range(dataset.files_per_case))}"
            )
    nowhere = folder / "no label"
    return [RawCase(name, tuple(paths[c] for c in sorted(paths)), nowhere) for name, paths in cases.items()]


def _refuse_two_roles(layout: Layout) -> None:
    by_role = {**layout.supervision.by_role(), "evaluation": layout.evaluation}
    for first, second in combinations(by_role, 2):
        both = set(by_role[first]) & set(by_role[second])
        if both:
            raise InputError(
                f"--{first} and --{second} both take {name_some(both)}; a case has one role, and '--{second} {REST}' "
                "takes those not named otherwise"
            )


def _check(split: Split, cases: Iterable[str]) -> None:
    found = problems(split.supervision, [dict(fold) for fold in split.folds], set(cases))
    if found:
        more = f" (and {len(found) - 1} more problems)" if len(found) > 1 else ""
        raise InputError(found[0] + more)


def _name_and_channel(stem: str, files: int) -> tuple[str, int]:
    match = re.fullmatch(r"(.+)_(\d{4})", stem)
    if match:
        return match[1], int(match[2])
    if files > 1:
        raise InputError(
            f"--unlabeled-images: {stem}: expected a name such as {stem}_0000, a case of the dataset has {files} files"
        )
    return stem, 0
