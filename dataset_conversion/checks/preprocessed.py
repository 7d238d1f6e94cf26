"""Is the preprocessed data still that of the raw labels?"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator
from pathlib import Path

from dataset_conversion.checks.report import PROBLEM, Finding
from dataset_conversion.raw.dataset import RawDataset
from dataset_conversion.raw.names import dataset_name
from dataset_conversion.supervision.files import name_some

_PREPROCESSED = "nnUNet_preprocessed"
_DATA_ENDINGS = (".b2nd", ".npz", ".npy", ".pkl")


def stale_preprocessing(dataset: RawDataset) -> Iterator[Finding]:
    """Name preprocessed data that is older than the raw labels, or was made from other labels or other cases.

    Nothing is found where ``nnUNet_preprocessed`` is unset or the dataset has not been preprocessed.
    """
    root = os.environ.get(_PREPROCESSED)
    folder = Path(root) / dataset_name(dataset.folder) if root else None
    if folder is None or not folder.is_dir():
        return
    configurations = sorted(path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.pkl")))
    for configuration in configurations:
        yield from _stale_configuration(dataset, configuration)
    yield from _other_labels(dataset, folder / "gt_segmentations")


def _stale_configuration(dataset: RawDataset, configuration: Path) -> Iterator[Finding]:
    where = f"preprocessed data {configuration.parent.name}/{configuration.name}"
    made: dict[str, float] = {}
    for path in configuration.iterdir():
        if path.suffix in _DATA_ENDINGS:
            case = path.stem.removesuffix("_seg")
            made[case] = min(made.get(case, float("inf")), path.stat().st_mtime)
    older = [
        case.name
        for case in dataset.cases
        if case.name in made and case.label.is_file() and case.label.stat().st_mtime > made[case.name]
    ]
    if older:
        yield _finding(f"{where} is older than the raw labels: preprocess again", older)
    absent = [name for name in dataset.names if name not in made]
    if absent:
        yield _finding(f"{where} lacks cases of the raw dataset: preprocess again", absent)


def _other_labels(dataset: RawDataset, folder: Path) -> Iterator[Finding]:
    """nnU-Net keeps a copy of every label it preprocessed; links keep old times, contents do not lie."""
    changed = [
        case.name
        for case in dataset.cases
        if case.label.is_file()
        and (folder / case.label.name).is_file()
        and not filecmp.cmp(case.label, folder / case.label.name, shallow=False)
    ]
    if changed:
        yield _finding(f"the labels that were preprocessed ({folder.parent.name}) are not those in labelsTr", changed)


def _finding(message: str, cases: list[str]) -> Finding:
    return Finding("stale preprocessing", PROBLEM, f"{message} ({name_some(cases)})", tuple(sorted(cases)))
