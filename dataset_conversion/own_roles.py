"""What ``mlbseg split`` is told about a user's cases, turned into roles and folds."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset_conversion.raw.dataset import RawCase, RawDataset
from dataset_conversion.supervision.files import ROLES, Supervision, name_some, problems
from dataset_conversion.supervision.folds import clean_folds, refuse_shared_patients
from dataset_conversion.supervision.roles import read_case_list
from noise_synthesis.safe_io.errors import InputError

REST = "rest"


@dataclass(frozen=True)
class Split:
    """Roles, evaluation cases and folds for a dataset."""

    supervision: Supervision
    evaluation: tuple[str, ...]
    folds: Sequence[Mapping[str, list[str]]]
    options: Mapping[str, Any] = field(default_factory=dict)


def draw_split(
    names: Sequence[str],
    chosen: Mapping[str, Sequence[str]],
    added: Sequence[str],
    *,
    folds: int | None,
    seed: int,
    patient_regex: str | None,
    always_train: Sequence[str],
) -> Split:
    """Turn the options of the command into roles and folds; see ``choose_roles`` and ``clean_folds``.

    With evaluation cases there is one fold, which validates on them; otherwise the folds go over the clean cases.

    Raises:
        InputError: the options contradict each other or the dataset.
    """
    roles = choose_roles(names, chosen, added)
    supervision = Supervision(**{role: tuple(roles.get(role, ())) for role in ROLES})
    evaluation = tuple(roles.get("evaluation", ()))
    if evaluation:
        if folds is not None:
            raise InputError("--folds divides the clean cases, --evaluation names other validation cases; give one")
        training = [case for cases in supervision.by_role().values() for case in cases]
        divided = [{"train": training, "val": list(evaluation)}]
        refuse_shared_patients(divided, patient_regex)
    else:
        kept = choose_cases("always-train", always_train, supervision.clean)
        divided = clean_folds(supervision, folds, seed=seed, patient_regex=patient_regex, always_train=kept)
    split = Split(supervision, evaluation, divided, {"seed": seed, "patient_regex": patient_regex})
    _check(split, [*names, *added])
    return split


def choose_roles(
    names: Sequence[str], chosen: Mapping[str, Sequence[str]], added: Sequence[str]
) -> dict[str, list[str]]:
    """Resolve what the user gave for each role (and for "evaluation"): files, patterns, or the word ``rest``.

    Args:
        names: all cases of the dataset.
        chosen: per role the texts given: the path of a list, or a pattern such as ``siteA_*`` for case names.
        added: cases from --unlabeled-images; they are unlabeled.

    Raises:
        InputError: something that is neither file nor pattern of any case, or a case left without a role.
    """
    roles = {role: choose_cases(role, texts, names) for role, texts in chosen.items()}
    waiting = [role for role, texts in chosen.items() if REST in texts]
    if len(waiting) > 1:
        raise InputError(f"'{REST}' given for {' and '.join(waiting)}; only one role can take the rest")
    taken = {case for cases in roles.values() for case in cases}
    left = [name for name in names if name not in taken]
    if waiting:
        roles[waiting[0]] += left
    elif left:
        raise InputError(
            f"{len(left)} cases have no role: {name_some(left)}; name them with --clean, --noisy, --unlabeled or "
            f"--evaluation, where the word '{REST}' stands for all cases not named otherwise"
        )
    roles["unlabeled"] = [*roles.get("unlabeled", []), *added]
    return roles


def choose_cases(role: str, texts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the cases that files and patterns stand for; ``rest`` stands for none here.

    Raises:
        InputError: a listed case that does not exist, or a pattern without a match.
    """
    found: list[str] = []
    for text in texts:
        if text == REST:
            continue
        if Path(text).is_file():
            listed = read_case_list(text)
            unknown = set(listed) - set(names)
            if unknown:
                raise InputError(f"--{role} {text}: no such case in the dataset: {name_some(unknown)}")
        else:
            listed = fnmatch.filter(names, text)
            if not listed:
                raise InputError(f"--{role} {text}: no such file, and no case whose name matches this pattern")
        found += [case for case in listed if case not in found]
    return found


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
