"""Score a folder of predicted label files against a folder of reference label files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_conversion.raw.formats import DatasetFormat, folder_format
from nnunetv2_mlbseg.evaluation.metrics import Scores, score
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json
from noise_synthesis.safe_io.label_files import find_label_files
from noise_synthesis.safe_io.text import as_on_disk

Classes = Mapping[str, tuple[int, ...]]  # the name of a class or region, and the label values that belong to it


@dataclass(frozen=True)
class CaseScore:
    """The scores of one class in one case."""

    case: str
    class_name: str
    scores: Scores


def evaluate_folders(
    predictions: Path,
    references: Path,
    cases: Sequence[str] | None = None,
    ignore_label: int | None = None,
    progress: Callable[[list[str]], Iterable[str]] = iter,
) -> list[CaseScore]:
    """Score every case, class by class, in the order of the case names.

    Classes come from a ``dataset.json`` in, or beside, either folder (nnU-Net writes one beside its predictions), and
    so does the ignore label unless one is given; without such a file every value above 0 that occurs is a class.

    Args:
        cases: score these, all of which must be in both folders; None: those that are in both (see `not_in_both`).
        ignore_label: voxels that have this value in the reference are left out of everything.
        progress: wraps the list of cases, as tqdm does.

    Raises:
        InputError: a listed case is missing on either side, no case is on both, a file cannot be read, or two files
            differ in geometry.
    """
    predicted, true = both_sides(predictions, references)
    names = matching_cases(predicted, true, predictions, references, cases)
    classes, declared_ignore = declared_classes(predictions, references)
    ignore_label = declared_ignore if ignore_label is None else ignore_label
    # Both by one reader, where the files are of one kind: readers may turn images.
    ours, theirs = (
        folder_format([files[name] for name in names], predictions, references) for files in (predicted, true)
    )
    if classes is None:
        files = [(predicted[name], ours) for name in names] + [(true[name], theirs) for name in names]
        classes = occurring_classes(files, ignore_label)
    return [
        case_score
        for name in progress(names)
        for case_score in evaluate_case(name, (predicted[name], ours), (true[name], theirs), classes, ignore_label)
    ]


def evaluate_case(
    case: str,
    prediction: tuple[Path, DatasetFormat],
    reference: tuple[Path, DatasetFormat],
    classes: Classes,
    ignore_label: int | None,
) -> Iterator[CaseScore]:
    """Score one case, class by class; the files come with how they are read."""
    volumes, readings = zip(*(format.read(path) for path, format in (prediction, reference)), strict=True)
    difference = readings[0].grid.difference(readings[1].grid)
    if difference:
        raise InputError(f"{prediction[0]}: cannot be held against {reference[0]}: they {difference}")
    labels = [volume.voxels[0] if readings[1].flat else volume.voxels for volume in volumes]
    counted = np.ones(labels[1].shape, bool) if ignore_label is None else labels[1] != ignore_label
    spacing_mm = volumes[1].spacing_mm[-labels[1].ndim :]
    for class_name, values in classes.items():
        predicted, true = (np.isin(one, values) & counted for one in labels)
        yield CaseScore(case, class_name, score(predicted, true, spacing_mm))


def both_sides(predictions: Path, references: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Label files of two folders by case name, names that look the same spelled as among the references."""
    predicted, true = find_label_files(predictions), find_label_files(references)
    return dict(zip(as_on_disk(predicted, true), predicted.values(), strict=True)), true


def not_in_both(predictions: Path, references: Path) -> tuple[list[str], list[str]]:
    """References without a prediction, and predictions without a reference."""
    predicted, true = both_sides(predictions, references)
    return sorted(set(true) - set(predicted)), sorted(set(predicted) - set(true))


def matching_cases(
    predicted: Mapping[str, Path],
    true: Mapping[str, Path],
    predictions: Path,
    references: Path,
    cases: Sequence[str] | None,
) -> list[str]:
    """The cases to score, sorted: those listed, each of which must be on both sides, or else those on both sides."""
    if cases is None:
        both = sorted(set(predicted) & set(true))
        if not both:
            raise InputError(
                f"{predictions}: no case in common with {references}, {min(predicted)} here and {min(true)} there for "
                "example; the files of a case must have one name"
            )
        return both
    wanted = sorted(set(as_on_disk(cases, true)))
    for folder, files in ((predictions, predicted), (references, true)):
        missing = [name for name in wanted if name not in files]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise InputError(f"{folder}: no file for {len(missing)} case(s): {', '.join(missing[:5])}{more}")
    return wanted


def declared_classes(*folders: Path) -> tuple[Classes | None, int | None]:
    """Classes and ignore label from the first ``dataset.json`` in, or beside, the folders; ``(None, None)`` if none."""
    candidates = [
        place / "dataset.json"
        for folder in folders
        for place in (folder, folder.absolute().parent, folder.resolve().parent)
    ]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return None, None
    content = read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        raise InputError(f'{path}: no "labels", expected an object of names and values')
    try:
        values = {name: _as_values(value) for name, value in labels.items()}
    except (TypeError, ValueError):
        raise InputError(
            f'{path}: "labels" must hold whole numbers or lists of them, got {json.dumps(labels)}'
        ) from None
    ignore = values.pop("ignore", None)
    return {name: own for name, own in values.items() if own != (0,)}, ignore[0] if ignore else None


def _as_values(value: Any) -> tuple[int, ...]:
    return tuple(int(entry) for entry in value) if isinstance(value, (list, tuple)) else (int(value),)


def occurring_classes(files: Iterable[tuple[Path, DatasetFormat]], ignore_label: int | None) -> Classes:
    """One class for every value above 0 in any of the files, named by its value."""
    values: set[int] = set()
    for path, format in files:
        values.update(np.unique(format.read(path)[0].voxels).tolist())
    return {str(value): (value,) for value in sorted(values - {0, ignore_label}) if value > 0}
