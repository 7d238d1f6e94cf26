"""Is the preprocessed data still that of the raw images and labels?"""

from __future__ import annotations

import filecmp
import os
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion.checks.cases import CaseFacts
from dataset_conversion.checks.image_record import DATA_ENDINGS, compare_images, entry_of, keep, preprocessed_file
from dataset_conversion.checks.report import PROBLEM, Finding
from dataset_conversion.raw.dataset import RawCase, RawDataset
from dataset_conversion.raw.names import dataset_name
from dataset_conversion.raw.parallel import over_cases
from dataset_conversion.raw.preprocessing import is_made_from, plans_of
from dataset_conversion.supervision.files import name_some

_PREPROCESSED = "nnUNet_preprocessed"
_PARTS_OF_ARRAYS = ("_reconstruct", "_frombuffer", "ndarray", "dtype", "scalar")
"""What arrays and numbers of numpy name in a pickle."""


def stale_preprocessing(dataset: RawDataset, facts: Sequence[CaseFacts], processes: int) -> Iterator[Finding]:
    """Name preprocessed data that was made from other images, labels or cases, or is older than the labels.

    Nothing is found where ``nnUNet_preprocessed`` is unset or the dataset has not been preprocessed.
    """
    root = os.environ.get(_PREPROCESSED)
    folder = Path(root) / dataset_name(dataset.folder) if root else None
    if folder is None or not folder.is_dir():
        return
    configurations = sorted(path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.pkl")))
    for configuration in configurations:
        yield from _stale_configuration(dataset, configuration)
        yield from _other_images(dataset, facts, configuration, processes)
    yield from _other_labels(dataset, folder / "gt_segmentations")


def _stale_configuration(dataset: RawDataset, configuration: Path) -> Iterator[Finding]:
    where = _place(configuration)
    made: dict[str, float] = {}
    for path in configuration.iterdir():
        if path.suffix in (*DATA_ENDINGS, ".pkl"):
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


def _other_images(
    dataset: RawDataset, facts: Sequence[CaseFacts], configuration: Path, processes: int
) -> Iterator[Finding]:
    """Images of another size or spacing, or whose record or times raise doubt: these are preprocessed and compared."""
    other = [case.name for case in facts if _has_other_grid(case, configuration / f"{case.name}.pkl")]
    images = {case.name: case.images for case in dataset.cases if case.name not in other}
    found = compare_images(images, configuration, dataset.folder)
    doubtful = [case for case in dataset.cases if case.name in {*found.changed, *found.suspect}]
    for case, same in zip(doubtful, _are_the_same(doubtful, configuration, processes), strict=True):
        data = preprocessed_file(configuration, case.name)
        if same and data is not None:
            found.same[case.name] = entry_of(case.images, data)
        elif same is False or case.name in found.changed or _is_newer(case, data):
            other.append(case.name)
    keep(configuration, found.same)
    if other:
        yield _finding(f"{_place(configuration)} was made from other images: preprocess again", other)


def _are_the_same(cases: Sequence[RawCase], configuration: Path, processes: int) -> list[bool | None]:
    """Whether preprocessing the images anew gives what lies in the folder; None where that cannot be said."""
    plans = plans_of(configuration) if cases else None
    if plans is None:
        return [None] * len(cases)
    jobs = [(case, configuration, *plans) for case in cases]
    return over_cases(is_made_from, jobs, processes, f"comparing images with {configuration.name}")


def _is_newer(case: RawCase, data: Path | None) -> bool:
    return data is not None and any(image.stat().st_mtime > data.stat().st_mtime for image in case.images)


def _has_other_grid(case: CaseFacts, path: Path) -> bool:
    """Whether nnU-Net noted another size or spacing of the image when it preprocessed it."""
    noted = _properties(path)
    if case.shape is None or case.spacing_mm is None or noted is None:
        return False
    same_shape = sorted(case.shape) == sorted(noted["shape_before_cropping"])  # its axes may be in another order
    return not (same_shape and np.allclose(case.spacing_mm, noted["spacing"], rtol=1e-4, atol=0))


class _Numbers(pickle.Unpickler):
    """Reads numbers, texts and arrays, and runs nothing that a file names."""

    def find_class(self, module: str, name: str) -> Any:
        """Only what arrays of numpy are made of."""
        if module.partition(".")[0] != "numpy" or name not in _PARTS_OF_ARRAYS:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return super().find_class(module, name)


def _properties(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            noted = _Numbers(file).load()
    except Exception:  # a file that is damaged can raise anything; a training will name it
        return None
    return noted if isinstance(noted, dict) and {"shape_before_cropping", "spacing"} <= noted.keys() else None


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


def _place(configuration: Path) -> str:
    return f"preprocessed data {configuration.parent.name}/{configuration.name}"


def _finding(message: str, cases: list[str]) -> Finding:
    return Finding("stale preprocessing", PROBLEM, f"{message} ({name_some(cases)})", tuple(sorted(cases)))
