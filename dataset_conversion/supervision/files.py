"""The files that say which case has which kind of label: reading, writing, and the rules they must keep.

A dataset folder (raw, or its preprocessed twin) holds ``supervision/clean.json``, ``noisy.json`` and
``unlabeled.json``, each a JSON list of case identifiers, and nnU-Net's own ``splits_final.json``. Nothing here needs
torch or nnU-Net, so that the converters, the command ``check`` and the trainer share one set of rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json, write_json
from noise_synthesis.safe_io.text import as_on_disk

ROLES = ("clean", "noisy", "unlabeled")
SUPERVISION_FOLDER = "supervision"
SPLITS_FILE = "splits_final.json"
PROVENANCE_FILE = "provenance.json"
_MOST_NAMED = 5


@dataclass(frozen=True)
class Supervision:
    """Case identifiers by role. Evaluation cases have no role and stand in none of the three."""

    clean: tuple[str, ...]
    noisy: tuple[str, ...] = ()
    unlabeled: tuple[str, ...] = ()

    def role_of(self, case: str) -> str | None:
        """Return ``"clean"``, ``"noisy"``, ``"unlabeled"``, or None for a case without a role."""
        return next((role for role in ROLES if case in getattr(self, role)), None)

    def by_role(self) -> dict[str, tuple[str, ...]]:
        """Return the three tuples under their role's name, in the order of ``ROLES``."""
        return {role: getattr(self, role) for role in ROLES}

    def roles(self) -> dict[str, str]:
        """Return ``{case: role}`` for many look-ups; for a case in two role files the first role counts."""
        return {case: role for role in reversed(ROLES) for case in getattr(self, role)}


def read_supervision(folder: str | Path, cases: Iterable[str] = ()) -> Supervision:
    """Read the role files of a dataset folder (the folder that holds ``supervision/``).

    Args:
        folder: the dataset.
        cases: those on disk; a listed case is spelled as its file is (see `as_on_disk`).

    A missing ``noisy.json`` or ``unlabeled.json`` is an empty list. Contradictions between the files are not judged
    here: see ``problems``.

    Raises:
        InputError: there are no role files at all, ``clean.json`` is missing, or a file is not a list of names.
    """
    folder = Path(folder)
    files = {role: folder / SUPERVISION_FOLDER / f"{role}.json" for role in ROLES}
    present = {role: path for role, path in files.items() if path.exists()}
    if not present:
        raise InputError(
            f"{folder / SUPERVISION_FOLDER}: no clean.json, noisy.json or unlabeled.json. Make them with "
            "'mlbseg split', or, if every case has a clean label, train with the stock nnUNetTrainer"
        )
    if "clean" not in present:
        raise InputError(f"{files['clean']}: missing, so no case is known to be clean; expected a JSON list of cases")
    on_disk = set(cases)
    return Supervision(**{role: tuple(as_on_disk(_read_role_file(path), on_disk)) for role, path in present.items()})


def write_supervision(folder: str | Path, supervision: Supervision) -> None:
    """Write the three role files below ``folder``, each sorted by name."""
    target = Path(folder) / SUPERVISION_FOLDER
    target.mkdir(parents=True, exist_ok=True)
    for role, cases in supervision.by_role().items():
        write_json(target / f"{role}.json", sorted(cases))


def read_splits(folder: str | Path, cases: Iterable[str] = ()) -> Any:
    """Return the content of ``splits_final.json`` below ``folder``, unjudged, or None where there is no such file.

    Args:
        folder: the dataset.
        cases: those on disk; in every sound fold a case is spelled as its file is (see `as_on_disk`).
    """
    path, on_disk = Path(folder) / SPLITS_FILE, set(cases)
    if not path.exists():
        return None
    content = read_json(path)
    for fold in readable_folds(content):
        fold |= {side: as_on_disk(fold[side], on_disk) for side in ("train", "val")}
    return content


def write_splits(folder: str | Path, splits: Sequence[Mapping[str, Iterable[str]]]) -> None:
    """Write ``splits_final.json`` below ``folder`` with the cases of each fold sorted by name."""
    content = [{"train": sorted(fold["train"]), "val": sorted(fold["val"])} for fold in splits]
    write_json(Path(folder) / SPLITS_FILE, content)


def problems(
    supervision: Supervision, splits: Any, cases: set[str], place: str = "imagesTr", *, needs_imperfect: bool = True
) -> list[str]:
    """Return every way in which roles, folds and the cases on disk contradict each other; empty if they agree.

    Args:
        supervision: as read by ``read_supervision``.
        splits: parsed ``splits_final.json`` of any shape, or None if there is no such file.
        cases: identifiers of all cases of the dataset (those with a file in ``place``).
        place: where those cases lie, for the messages.
        needs_imperfect: whether clean cases alone are a problem. They are for the method, not for plain training.
    """
    return [
        *_role_problems(supervision, cases, place, needs_imperfect),
        *_split_problems(supervision, splits, cases, place, needs_imperfect),
    ]


def readable_folds(splits: Any) -> list[dict[str, list[str]]]:
    """Return those folds of parsed ``splits_final.json`` that have the right types; ``problems`` reports the others."""
    folds = splits if isinstance(splits, list) else []
    return [fold for fold in folds if _wrong_fold_type(fold) is None]


def name_some(cases: Iterable[str]) -> str:
    """Return the names sorted, in one line, the first few if there are many."""
    names = sorted(cases)
    rest = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _read_role_file(path: Path) -> tuple[str, ...]:
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(f"{path}: expected a JSON list of case names, got {_kind(content)}")
    for entry in content:
        if not isinstance(entry, str):
            raise InputError(f"{path}: expected case names as text, got {entry!r}")
    return tuple(content)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _role_problems(supervision: Supervision, cases: set[str], place: str, needs_imperfect: bool) -> Iterator[str]:
    by_role = supervision.by_role()
    if not by_role["clean"]:
        yield "supervision/clean.json: no clean case; warm-up and weighting need at least one"
    if needs_imperfect and not by_role["noisy"] and not by_role["unlabeled"]:
        yield (
            "supervision: neither a noisy nor an unlabeled case; with clean labels only, train with the stock "
            "nnUNetTrainer"
        )
    for role, names in by_role.items():
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            yield f"supervision/{role}.json: listed more than once: {name_some(repeated)}"
        unknown = set(names) - cases
        if unknown:
            yield f"supervision/{role}.json: role for a case that does not exist in {place}: {name_some(unknown)}"
    for first, second in (("clean", "noisy"), ("clean", "unlabeled"), ("noisy", "unlabeled")):
        both = set(by_role[first]) & set(by_role[second])
        if both:
            yield f"supervision: case in both {first}.json and {second}.json: {name_some(both)}"


def _split_problems(
    supervision: Supervision, splits: Any, cases: set[str], place: str, needs_imperfect: bool
) -> Iterator[str]:
    if splits is None:
        yield (
            f"{SPLITS_FILE}: missing; nnU-Net would then draw its own folds and validate on imperfect labels. "
            "Write it with 'mlbseg split'"
        )
        return
    if not isinstance(splits, list) or not splits:
        yield f"{SPLITS_FILE}: expected a list with one object per fold, got {_kind(splits) if splits != [] else '[]'}"
        return
    roles = supervision.roles()
    for number, fold in enumerate(splits):
        where = f"{SPLITS_FILE}: fold {number}"
        wrong = _wrong_fold_type(fold)
        if wrong:
            yield f"{where}: {wrong}"
        else:
            yield from _fold_problems(where, fold, roles, cases, place, needs_imperfect)


def _wrong_fold_type(fold: Any) -> str | None:
    if not isinstance(fold, dict):
        return f"expected an object with 'train' and 'val', got {_kind(fold)}"
    for side in ("train", "val"):
        if side not in fold:
            return f"'{side}' is missing"
        if not isinstance(fold[side], list):
            return f"'{side}' must be a list of case names, got {_kind(fold[side])}"
        strange = [entry for entry in fold[side] if not isinstance(entry, str)]
        if strange:
            return f"'{side}' must hold case names as text, got {strange[0]!r}"
    return None


def _fold_problems(
    where: str,
    fold: dict[str, list[str]],
    roles: Mapping[str, str],
    cases: set[str],
    place: str,
    needs_imperfect: bool,
) -> Iterator[str]:
    train, val = set(fold["train"]), set(fold["val"])
    for side in ("train", "val"):
        repeated = [name for name, count in Counter(fold[side]).items() if count > 1]
        if repeated:
            yield f"{where}: listed more than once in '{side}': {name_some(repeated)}"
        unknown = set(fold[side]) - cases
        if unknown:
            yield f"{where}: case in '{side}' that does not exist in {place}: {name_some(unknown)}"
    if train & val:
        yield f"{where}: case in both 'train' and 'val': {name_some(train & val)}"
    without_role = {case for case in train if case not in roles}
    if without_role:
        yield f"{where}: training case without a role in supervision/: {name_some(without_role)}"
    for role in ("noisy", "unlabeled"):
        imperfect = {case for case in val if roles.get(case) == role}
        if imperfect:
            yield f"{where}: validation case that is {role} (validation needs true labels): {name_some(imperfect)}"
    yield from _emptiness(where, {roles[case] for case in train if case in roles}, roles, val, needs_imperfect)


def _emptiness(
    where: str, train_roles: set[str], roles: Mapping[str, str], val: set[str], needs_imperfect: bool
) -> Iterator[str]:
    """What a fold lacks, as far as the role files have it at all."""
    present = set(roles.values())
    if "clean" in present and "clean" not in train_roles:
        yield f"{where}: no clean case in 'train'"
    if needs_imperfect and present - {"clean"} and not train_roles - {"clean"}:
        yield f"{where}: neither a noisy nor an unlabeled case in 'train'"
    if not val:
        yield f"{where}: 'val' is empty; nnU-Net needs at least one validation case"
