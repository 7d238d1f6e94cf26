"""The numbers of an audit as JSON and CSV files, worst case first."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noise_synthesis.safe_io.files import atomic_path, write_json

SUMMARY = "audit.json"
CASE_COLUMNS = (
    "rank", "case", "source", "score", "suspected_mm3", "expected_error_mm3", "labelled_mm3", "change", "p_value",
    "corrected_mm3", "expected_gain",
)  # fmt: skip
REGION_COLUMNS = (
    "rank", "case", "kind", "given", "proposed", "shift_mm", "size_mm3", "voxels", "x_mm", "y_mm", "z_mm",
    "worst_slice", "first_slice", "last_slice", "suspicion",
)  # fmt: skip

TO_LABEL_COLUMNS = ("rank", "case", "expected_gain", "expected_dice", "why")


def ranked(cases: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the cases, worst score first, numbered from 1."""
    rows = sorted(cases, key=lambda row: (row["score"], row["case"]))
    return [{"rank": rank, **row} for rank, row in enumerate(rows, start=1)]


def write_tables(folder: Path, about: Mapping[str, Any], cases: Sequence[Mapping[str, Any]]) -> None:
    """Write ``cases.csv``, ``slices.csv``, ``regions.csv`` and, as the last, ``audit.json`` with all of it.

    And ``to_label.csv``, where the audit chose cases to label.
    """
    _write_csv(folder / "cases.csv", CASE_COLUMNS, cases)
    slices = [
        {"rank": row["rank"], "case": row["case"], "slice": number, "score": score}
        for row in cases
        for number, score in enumerate(row["slice_scores"])
        if score is not None
    ]
    _write_csv(folder / "slices.csv", ("rank", "case", "slice", "score"), slices)
    _write_csv(folder / "regions.csv", REGION_COLUMNS, [_flat(row, one) for row in cases for one in row["regions"]])
    if "to_label" in about:
        _write_csv(folder / "to_label.csv", TO_LABEL_COLUMNS, about["to_label"])
    write_json(folder / SUMMARY, {**about, "cases": list(cases)})


def _flat(case: Mapping[str, Any], region: Mapping[str, Any]) -> dict[str, Any]:
    x, y, z = region["centroid_mm"]
    first, last = region["slices"]
    own = {"x_mm": x, "y_mm": y, "z_mm": z, "first_slice": first, "last_slice": last}
    return {"rank": case["rank"], "case": case["case"], **region, **own}


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
