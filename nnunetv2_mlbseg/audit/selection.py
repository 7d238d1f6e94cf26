"""What a person decided about audited cases, or drew of unlabeled ones, and the files that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dataset_conversion.supervision.files import Supervision, name_some
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json
from noise_synthesis.safe_io.text import as_on_disk

ACCEPTED, REANNOTATED = "proposal", "reannotated"
FOLDER_OPTIONS = {ACCEPTED: "--corrected", REANNOTATED: "--reannotated"}


@dataclass(frozen=True)
class Selection:
    """Decisions by case: :data:`ACCEPTED` (the corrected label replaces the given one, the case stays noisy) or
    :data:`REANNOTATED` (an expert drew it, anew or for the first time: the case becomes clean).
    """

    path: Path
    dataset: str
    cases: Mapping[str, str]

    def chosen(self, decision: str) -> list[str]:
        """The cases with a decision, sorted."""
        return sorted(case for case, found in self.cases.items() if found == decision)


def read_selection(path: Path, dataset: str, supervision: Supervision) -> Selection:
    """Read and check the file that the report saves.

    Raises:
        InputError: it is no such file, or belongs to another dataset, or names a case that is neither noisy nor
            unlabeled, or accepts a correction of an unlabeled one, which has no label to correct.
    """
    content = read_json(path)
    cases = content.get("cases") if isinstance(content, dict) else None
    if not isinstance(cases, dict) or not isinstance(content.get("dataset"), str):
        raise InputError(f'{path}: expected an object with "dataset" and "cases", as the report saves it')
    if content["dataset"] != dataset:
        raise InputError(f"{path}: made for {content['dataset']}, expected {dataset}")
    if not cases:
        raise InputError(f"{path}: no case in it, expected at least one decision")
    strange = sorted(case for case, decision in cases.items() if decision not in FOLDER_OPTIONS)
    if strange:
        raise InputError(
            f"{path}: case {strange[0]} has the decision {cases[strange[0]]!r}, expected {' or '.join(FOLDER_OPTIONS)}"
        )
    known = (*supervision.noisy, *supervision.unlabeled)
    cases = dict(zip(as_on_disk(cases, known), cases.values(), strict=True))
    others = [case for case in cases if case not in known]
    if others:
        raise InputError(
            f"{path}: {name_some(others)}: no noisy or unlabeled case of {dataset}; only those get new labels"
        )
    empty = [case for case in supervision.unlabeled if cases.get(case) == ACCEPTED]
    if empty:
        raise InputError(
            f"{path}: {name_some(empty)}: {ACCEPTED}, but unlabeled in {dataset}, so that there is no correction; "
            f"expected {REANNOTATED}"
        )
    return Selection(path, dataset, cases)


def label_files_of(selection: Selection, folders: Mapping[str, Path | None], ending: str) -> dict[str, Path]:
    """The new label file of every case.

    Args:
        folders: Where the files of each decision lie; None: not given.

    Raises:
        InputError: a folder was not given, or a file is missing in it.
    """
    found: dict[str, Path] = {}
    for decision, option in FOLDER_OPTIONS.items():
        cases, folder = selection.chosen(decision), folders[decision]
        if not cases:
            continue
        if folder is None:
            raise InputError(f"{selection.path}: {len(cases)} cases are {decision}; say where they lie by {option} DIR")
        paths = {case: folder / f"{case}{ending}" for case in cases}
        missing = [case for case, path in paths.items() if not path.is_file()]
        if missing:
            raise InputError(f"{option} {folder}: no file of {name_some(missing)}, expected NAME{ending} for each")
        found |= paths
    return found
