"""A new version of a raw dataset with the labels that a person accepted or drew; the old one stays as it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion.raw.cases import FORMER_LABELS
from dataset_conversion.raw.companions import companions, link_with_companions
from dataset_conversion.raw.dataset import link_or_copy
from dataset_conversion.raw.folder import building
from dataset_conversion.raw.formats import DatasetFormat, folder_format
from dataset_conversion.raw.names import dataset_name
from dataset_conversion.supervision.files import (
    PROVENANCE_FILE,
    SUPERVISION_FOLDER,
    Supervision,
    read_supervision,
    write_supervision,
)
from nnunetv2_mlbseg.audit.selection import REANNOTATED, Selection, label_files_of, read_selection
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json, write_json
from noise_synthesis.safe_io.structures import all_values
from noise_synthesis.safe_io.version import tool_version

LABELS = "labelsTr"


@dataclass(frozen=True)
class Revision:
    """What was written."""

    target: Path
    supervision: Supervision
    replaced: Mapping[str, str]


def revise(raw: Path, selection_file: Path, folders: Mapping[str, Path | None], target: Path) -> Revision:
    """Write the new version: all files of ``raw`` under a second name, and the new labels in place of the old ones.

    Cases that were drawn become clean, and the old labels of noisy ones go to ``labelsTr_former``; cases with an
    accepted correction stay noisy. Folds stay as they are.

    Args:
        raw: The raw dataset.
        selection_file: Decisions, see :func:`read_selection`.
        folders: By decision, where the new labels lie.
        target: The new raw dataset; it appears when it is complete.

    Raises:
        InputError: what is selected does not fit the dataset, or a new label does not fit the case.
    """
    description = read_json(raw / "dataset.json")
    if "dataset" in description:
        raise InputError(f"{raw / 'dataset.json'}: lists files under 'dataset', expected all cases in imagesTr")
    ending = description["file_ending"]
    supervision = read_supervision(raw, (path.name.removesuffix(ending) for path in (raw / LABELS).iterdir()))
    selection = read_selection(selection_file, dataset_name(raw), supervision)
    labels = label_files_of(selection, folders, ending)
    files = folder_format([raw / LABELS / f"{case}{ending}" for case in labels], raw)
    for case, path in labels.items():
        check_label(path, raw / LABELS / f"{case}{ending}", files, description["labels"])
    copied = {f"{LABELS}/{case}{ending}": path for case, path in labels.items()}
    for case, path in labels.items():
        beside = companions(path, case, files, is_image=False)
        copied |= {f"{LABELS}/{name}": file for name, file in beside.items()}
    drawn = set(selection.chosen(REANNOTATED))
    redrawn = drawn.intersection(supervision.noisy)
    former = {f"{FORMER_LABELS}/{case}{ending}" for case in redrawn}
    updated = Supervision(
        clean=tuple(sorted({*supervision.clean, *drawn})),
        noisy=tuple(case for case in supervision.noisy if case not in drawn),
        unlabeled=tuple(case for case in supervision.unlabeled if case not in drawn),
    )
    with building(target) as folder:
        link_all(raw, folder, without={*copied, *former})
        for name, path in copied.items():
            shutil.copyfile(path, folder / name)
        if redrawn:
            (folder / FORMER_LABELS).mkdir(exist_ok=True)
        for case in redrawn:
            old = raw / LABELS / f"{case}{ending}"
            link_with_companions(old, folder / FORMER_LABELS, case, case, files, is_image=False)
        write_supervision(folder, updated)
        about = folder / SUPERVISION_FOLDER / PROVENANCE_FILE
        before = read_json(raw / SUPERVISION_FOLDER / PROVENANCE_FILE) if about.exists() else {}
        about.unlink(missing_ok=True)  # a second name of the old file, which is not to change
        write_json(about, provenance(before, selection))
    return Revision(target, updated, selection.cases)


def check_label(path: Path, old: Path, files: DatasetFormat, classes: Mapping[str, Any]) -> None:
    """Refuse a new label that does not lie on the old one's voxels or has values that dataset.json does not know."""
    (volume, new), (_, given) = files.read(path), files.read(old)
    difference = new.grid.difference(given.grid)
    if difference:
        raise InputError(f"{path}: does not lie on the voxels of {old}: they {difference}")
    known = all_values(classes)
    strange = np.setdiff1d(volume.voxels, known)
    if strange.size:
        raise InputError(f"{path}: has the values {strange.tolist()}, expected only {known}")


def link_all(source: Path, target: Path, without: set[str]) -> None:
    """Give every file below ``source`` a second name below ``target``, role files and hidden files excepted."""
    roles = {f"{SUPERVISION_FOLDER}/{role}.json" for role in Supervision(()).by_role()}
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        hidden = any(part.startswith(".") for part in name.parts)
        if not path.is_file() or hidden or name.as_posix() in without | roles:
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(path, target / name)


def provenance(before: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    """What was known about the dataset, and one more revision."""
    revision = {
        "tool": {"name": "nnunetv2_mlbseg", "version": tool_version()},
        "source": selection.dataset,
        "decisions": dict(sorted(selection.cases.items())),
    }
    return {**before, "revisions": [*before.get("revisions", []), revision]}
