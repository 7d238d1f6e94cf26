"""The scores of finished runs, arranged for tables: per place, row, seed and case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnunetv2_mlbseg.study.reading.description import FINAL, Study
from nnunetv2_mlbseg.study.reading.runs import Run
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json

PERCENT = ("dice", "jaccard")  # fractions in the files, % in tables

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """A row of one setting: what its seeds reached on every held-out case."""

    cases: tuple[str, ...]
    seeds: tuple[int, ...]  # those that are finished
    missing: tuple[str, ...]  # names of the runs that are not
    scores: Mapping[str, Values]  # measure: (seeds, cases), mean over classes; NaN where a distance is undefined
    differing: tuple[str, ...] = ()  # what was not the same in the trainings of its seeds

    def per_seed(self, measure: str) -> Values:
        """Mean over the cases of every seed, ``(seeds,)``; cases without a distance are left out."""
        return np.array([mean_of_defined(row) for row in self.scores[measure]])

    def undefined(self, measure: str) -> int:
        """How many values the means leave out."""
        return int(np.isnan(self.scores[measure]).sum())


def mean_of_defined(values: Values) -> float:
    """Mean of what is not NaN; NaN if nothing is left."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def read_cells(
    study: Study, runs: Sequence[Run], out: Path, measures: Iterable[str], network: str = FINAL
) -> dict[tuple[str, str], Cell]:
    """All cells by (DATASET/SETTING, variant), those without a finished run included."""
    file = "scores.json" if network == FINAL else f"scores_{network}.json"
    by_cell: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        for place in run.places:
            by_cell.setdefault((place, run.variant.name), []).append(run)
    return {key: read_cell(own, out, file, tuple(measures)) for key, own in by_cell.items()}


def read_cell(runs: Sequence[Run], out: Path, file: str, measures: Sequence[str]) -> Cell:
    """One cell from the files of its runs.

    Raises:
        InputError: two seeds were scored on different cases.
    """
    finished = [run for run in runs if (out / run.folder / file).is_file()]
    cases: tuple[str, ...] = ()
    rows: dict[str, list[Values]] = {measure: [] for measure in measures}
    for run in finished:
        path = out / run.folder / file
        found, scores = read_scores(path, measures)
        if cases and found != cases:
            raise InputError(f"{path}: holds other cases than the other seeds of this row")
        cases = found
        for measure in measures:
            rows[measure].append(scores[measure])
    empty = np.empty((0, len(cases)))
    stacked = {measure: np.stack(values) if values else empty for measure, values in rows.items()}
    missing = tuple(run.name for run in runs if run not in finished)
    return Cell(cases, tuple(run.seed for run in finished), missing, stacked, differing(finished, out))


def differing(runs: Sequence[Run], out: Path) -> tuple[str, ...]:
    """Resolved configuration keys (where all have them), version and device in which trainings differ; not the seed."""
    paths = [out / run.folder / "trained.json" for run in runs]
    found = [read_json(path) for path in paths if path.is_file()]
    known = all(one.get("config") for one in found)
    flat = [
        {**(one["config"] if known else {}), "version": one.get("version"), "device": one["device"]} for one in found
    ]
    keys = sorted({key for one in flat for key in one} - {"seed"})
    return tuple(key for key in keys if any(one.get(key) != flat[0].get(key) for one in flat))


def read_scores(path: Path, measures: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Values]]:
    """What ``mlbseg evaluate`` wrote: cases, and per measure the mean over classes of every case, in tables' units.

    A distance that is undefined for one class of a case is undefined for the case.
    """
    content = read_json(path)
    try:
        by_case: dict[str, list[dict[str, Any]]] = {}
        for row in content["cases"]:
            by_case.setdefault(row["case"], []).append(row)
        scores = {
            measure: np.array([np.mean([number(row[measure], measure) for row in rows]) for rows in by_case.values()])
            for measure in measures
        }
    except (KeyError, TypeError):
        raise InputError(
            f"{path}: not what 'mlbseg evaluate' writes; remove it, and the run is evaluated again"
        ) from None
    return tuple(by_case), scores


def number(value: float | None, measure: str) -> float:
    """A score in the unit of the tables: % for overlaps."""
    if value is None:
        return float("nan")
    return 100 * value if measure in PERCENT else value
