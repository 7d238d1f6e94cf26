"""What only shows when all cases are seen together: outliers, labels against roles, cases that nothing uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dataset_conversion.checks.cases import CaseFacts
from dataset_conversion.checks.report import PROBLEM, WARNING, Finding
from dataset_conversion.raw.dataset import RawDataset
from dataset_conversion.supervision.files import Supervision, name_some, readable_folds
from noise_synthesis.safe_io.structures import as_values

# A spacing this many times that of the median case is another acquisition, or a header that is wrong.
SPACING_FACTOR = 2.0
DIRECTION_TOLERANCE = 0.1


def outliers(facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Name cases whose orientation or spacing stands out from the rest, and those of another dimension."""
    directions = Counter(tuple(np.round(case.direction, 1)) for case in facts if case.direction)
    usual = next((np.array(direction) for direction, _ in directions.most_common(1)), None)
    spacings = [case.spacing_mm for case in facts if case.spacing_mm]
    median = np.median(np.array(spacings), axis=0) if spacings else None
    for case in facts:
        if case.direction and usual is not None and len(case.direction) != len(usual):
            yield _about(case, "dimensions", PROBLEM, "has another number of dimensions than most cases")
        elif (
            case.direction
            and usual is not None
            and np.abs(np.array(case.direction) - usual).max() > DIRECTION_TOLERANCE
        ):
            rounded = tuple(round(value, 2) for value in case.direction)
            yield _about(case, "orientation", WARNING, f"direction {rounded}, unlike most cases")
        if case.spacing_mm and median is not None:
            ratio = np.array(case.spacing_mm) / median
            if max(ratio.max(), 1 / ratio.min()) > SPACING_FACTOR:
                here, there = ([round(float(step), 3) for step in steps] for steps in (case.spacing_mm, median))
                yield _about(case, "spacing", WARNING, f"spacing {here} mm (z, y, x); the median of all is {there}")


def label_contents(
    facts: Sequence[CaseFacts], supervision: Supervision | None, ignore: int | None
) -> Iterator[Finding]:
    """Hold what the labels contain against the role of each case."""
    roles = supervision.roles() if supervision else {}
    for case in facts:
        if case.label_values is None:
            continue
        role, values = roles.get(case.name), set(case.label_values)
        if role == "unlabeled":
            if ignore is None or values != {ignore}:
                yield _about(
                    case,
                    "unlabeled",
                    PROBLEM,
                    "is unlabeled, but its label in labelsTr is not the ignore label throughout",
                )
        elif ignore is not None and values == {ignore}:
            yield _about(case, "all ignored", PROBLEM, f"is {role or 'for evaluation'}, but its label is all ignore")
        elif not values - {0, ignore}:
            severity = PROBLEM if role == "clean" else WARNING
            yield _about(case, "empty label", severity, f"{role or 'evaluation or stock'} case with an empty label")


def classes_not_shown(
    facts: Sequence[CaseFacts], supervision: Supervision | None, splits: Any, labels: Mapping[str, Any]
) -> Iterator[Finding]:
    """Name classes that no clean training case of a fold shows; labels that could not be read may show any class.

    Args:
        labels: Of dataset.json: by name the value of a class, or the values of a region.
    """
    if supervision is None:
        return
    values = {case.name: case.label_values for case in facts}
    training = [set(fold["train"]) for fold in readable_folds(splits)]
    for name, value in labels.items():
        if value == 0 or name == "ignore":
            continue
        own = set(as_values(value))
        shows = {case for case, found in values.items() if found is None or own & set(found)}
        missing = [
            (number, bool(cases & shows & set(supervision.noisy)))
            for number, cases in enumerate(training)
            if cases & set(supervision.clean) and not cases & shows & set(supervision.clean)
        ]
        only_noisy, nowhere = ([number for number, noisy in missing if noisy is some] for some in (True, False))
        if only_noisy:
            yield Finding(
                "class not shown",
                WARNING,
                f"class {name}: no clean training case of {_name_folds(only_noisy)} shows it; only noisy labels teach "
                f"it there, as they are; make a case clean that shows it",
            )
        if nowhere:
            yield Finding(
                "class not shown",
                WARNING,
                f"class {name}: no clean or noisy training case of {_name_folds(nowhere)} shows it; no training learns "
                f"it there",
            )


def _name_folds(folds: Sequence[int]) -> str:
    return f"fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}"


def ct_statistics(channel_names: Iterable[str], supervision: Supervision) -> Iterator[Finding]:
    """Say what all-ignore labels do to nnU-Net's CT normalisation.

    Its fingerprint takes the intensities of all labelled voxels for foreground, ignored ones included, and CT channels
    are clipped and scaled by those. Other channels do not use them.
    """
    if supervision.unlabeled and any(name.lower() == "ct" for name in channel_names):
        yield Finding(
            "CT statistics",
            WARNING,
            "nnU-Net takes the ignored voxels of unlabeled cases for foreground when it computes the CT intensity "
            "range; plan on the labelled cases alone and bring those plans here: nnUNetv2_move_plans_between_datasets",
        )


def without_a_place(dataset: RawDataset, supervision: Supervision, splits: Any) -> Iterator[Finding]:
    """Name cases that no training will ever see: no role, and in no fold's validation; or a role, but in no fold."""
    folds = readable_folds(splits)
    validating = {case for fold in folds for case in fold["val"]}
    everywhere = validating | {case for fold in folds for case in fold["train"]}
    roles = supervision.roles()
    idle = [name for name in dataset.names if name not in roles and name not in validating]
    if idle:
        yield Finding(
            "unused", WARNING, f"cases without a role that validate in no fold: {name_some(idle)}", tuple(sorted(idle))
        )
    dropped = [name for name in dataset.names if name in roles and folds and name not in everywhere]
    if dropped:
        yield Finding(
            "unused", WARNING, f"cases with a role that stand in no fold: {name_some(dropped)}", tuple(sorted(dropped))
        )


def _about(case: CaseFacts, kind: str, severity: str, message: str) -> Finding:
    return Finding(kind, severity, f"case {case.name}: {message}", (case.name,))
