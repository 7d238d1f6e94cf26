"""Tables of paired differences over cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnunetv2_mlbseg.study.reading.description import Study
from nnunetv2_mlbseg.study.reporting.results import Cell, Values
from nnunetv2_mlbseg.study.reporting.statistics import CONFIDENCE, Difference, paired_difference
from nnunetv2_mlbseg.study.reporting.tables import MISSING, NOT_RUN, Cells, Table, Value, measure_name
from noise_synthesis.safe_io.errors import InputError


def difference_table(study: Study, described: Mapping[str, Any], cells: Cells, number: int) -> Table | None:
    """Paired differences over cases against the rows of ``compare_to``, in the first measure; None without any."""
    measure = described["measures"][0]
    references = [name for name in study.compare_to if any((place, name) in cells for place in described["places"])]
    pairs = [(place, reference) for place in described["places"] for reference in references]
    heading = [
        "row",
        *(
            f"{place + ': ' if len(described['places']) > 1 else ''}minus {study.variants[r].title}"
            for place, r in pairs
        ),
    ]
    body = []
    for variant in described["variants"]:
        values = []
        for place, reference in pairs:
            ours, theirs = cells.get((place, variant)), cells.get((place, reference))
            values.append(difference_value(ours, theirs, measure) if variant != reference else Value(text=""))
        if any(value.text is None for value in values):
            body.append((study.variants[variant].title, tuple(values)))
    if not body:
        return None
    note = (
        f"mean paired difference over the held-out cases, each case averaged over the seeds that both rows have; "
        f"{100 * CONFIDENCE:g} % bootstrap confidence interval (BCa) over cases"
    )
    title = f"{described['title']}: paired differences in {measure_name(measure)}"
    return Table(f"table_{number:02d}_differences", title, tuple(heading), tuple(body), (note,))


def difference_value(ours: Cell | None, theirs: Cell | None, measure: str) -> Value:
    """The paired difference of two cells, if both have a seed in common."""
    if ours is None or theirs is None:
        return Value(text=NOT_RUN)
    found = difference_of(ours, theirs, measure)
    if found is None:
        return Value(text=MISSING)
    return Value(mean=found.mean, interval=(found.low, found.high))


def difference_of(ours: Cell, theirs: Cell, measure: str) -> Difference | None:
    """``ours - theirs`` over cases, each averaged over the seeds that both have; None if they share none."""
    seeds = [seed for seed in ours.seeds if seed in theirs.seeds]
    if not seeds:
        return None
    if ours.cases != theirs.cases:
        raise InputError("two rows of one setting were scored on different cases; they cannot be paired")
    return paired_difference(of_seeds(ours, measure, seeds), of_seeds(theirs, measure, seeds))


def of_seeds(cell: Cell, measure: str, seeds: Sequence[int]) -> Values:
    """Mean over these seeds of every case; NaN where one of them has no value."""
    rows = [cell.scores[measure][cell.seeds.index(seed)] for seed in seeds]
    return np.asarray(np.mean(rows, axis=0))
