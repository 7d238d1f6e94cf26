"""Tables of a study as plain rows of cells; :mod:`render` turns them into Markdown, CSV and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunetv2_mlbseg.study.description import Study
from nnunetv2_mlbseg.study.paper import paper_numbers, reported
from nnunetv2_mlbseg.study.report_entries import DEFAULT_MEASURES
from nnunetv2_mlbseg.study.results import Cell, Values
from nnunetv2_mlbseg.study.statistics import CONFIDENCE, Difference, mean_and_deviation, paired_difference
from noise_synthesis.errors import InputError

Cells = Mapping[tuple[str, str], Cell]
NOT_RUN = "not in this study"
NAMES = {"dice": "Dice %", "jaccard": "Jaccard %", "hd": "HD", "hd95": "HD95", "asd": "ASD", "assd": "ASSD"}


@dataclass(frozen=True)
class Value:
    """A cell of a table: a mean with its deviation, a difference with its interval, or a text."""

    mean: float = math.nan
    deviation: float = math.nan
    interval: tuple[float, float] | None = None
    text: str | None = None


@dataclass(frozen=True)
class Table:
    """A table: names of its columns, rows of a label and cells, and remarks below."""

    name: str  # of its files
    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Value, ...]], ...]
    notes: tuple[str, ...] = ()


def measure_name(measure: str) -> str:
    """``hd95_mm`` as a column's heading: HD95 mm."""
    name, _, unit = measure.partition("_")
    return f"{NAMES[name]} {unit}".rstrip()


def tables_of(study: Study) -> list[dict[str, Any]]:
    """The tables that the study file asks for; without any, one per setting."""
    if study.tables:
        return [dict(table) for table in study.tables]
    return [
        {
            "title": f"{dataset.name}, {setting}",
            "places": [f"{dataset.name}/{setting}"],
            "variants": list(study.variants),
            "measures": list(DEFAULT_MEASURES),
            "layout": "variants",
            "paper": {},
        }
        for dataset in study.datasets.values()
        for setting in dataset.settings
    ]


@dataclass(frozen=True)
class Column:
    """A column of scores: of a place (rows are variants) or of a data set and a variant (rows are settings)."""

    head: str
    measure: str
    dataset: str
    source: str  # the data set's converter: LA or PROMISE12 for the paper's numbers
    place: str | None = None
    variant: str | None = None

    def key(self, row: str) -> tuple[str, str]:
        """The cell in a row."""
        return (self.place, row) if self.place is not None else (f"{self.dataset}/{row}", str(self.variant))


def columns_of(study: Study, described: Mapping[str, Any]) -> list[Column]:
    """The columns of a table, without those of the paper."""
    places, variants, measures = described["places"], described["variants"], described["measures"]
    of = {name: dataset.converter for name, dataset in study.datasets.items()}
    if described["layout"] == "variants":
        heads = [f"{place}: " if len(places) > 1 else "" for place in places]
        return [
            Column(head + measure_name(measure), measure, dataset, of[dataset], place=place)
            for head, place in zip(heads, places, strict=True)
            for dataset in [place.partition("/")[0]]
            for measure in measures
        ]
    datasets = list(dict.fromkeys(place.partition("/")[0] for place in places))
    columns = []
    for dataset in datasets:
        for variant in variants:
            parts = [dataset] * (len(datasets) > 1) + [study.variants[variant].title] * (len(variants) > 1)
            head = f"{', '.join(parts)}: " if parts else ""
            columns += [Column(head + measure_name(m), m, dataset, of[dataset], variant=variant) for m in measures]
    return columns


def rows_of(study: Study, described: Mapping[str, Any]) -> dict[str, str]:
    """The rows of a table and what they are called in it."""
    if described["layout"] == "variants":
        return {variant: study.variants[variant].title for variant in described["variants"]}
    return {setting: setting for setting in (place.partition("/")[2] for place in described["places"])}


def score_table(study: Study, described: Mapping[str, Any], cells: Cells, number: int) -> Table:
    """Mean and deviation over seeds; rows are variants, or settings. The paper's numbers stand beside ours."""
    columns, rows, paper = columns_of(study, described), rows_of(study, described), described["paper"]
    beside = [any(paper_value(paper, row, column) is not None for row in rows) for column in columns]
    heading = ["row" if described["layout"] == "variants" else "setting"]
    for column, has_paper in zip(columns, beside, strict=True):
        heading += [column.head, *([f"{column.head} (paper)"] if has_paper else [])]
    body = []
    for row, label in rows.items():
        if not any(column.key(row) in cells for column in columns):
            continue  # the study file keeps this row out of these settings
        values: list[Value] = []
        for column, has_paper in zip(columns, beside, strict=True):
            values.append(score_value(cells.get(column.key(row)), column.measure))
            if has_paper:
                found = paper_value(paper, row, column)
                values.append(Value(text="") if found is None else Value(mean=found))
        body.append((label, tuple(values)))
    used = {column.key(row): cells[column.key(row)] for row in rows for column in columns if column.key(row) in cells}
    notes = [
        *describe_samples(used),
        *describe_missing(used),
        *describe_differing(used),
        *describe_undefined(used, described["measures"]),
    ]
    if paper:
        notes.append(f"(paper): as the paper reports, {paper_numbers()['tables'][paper['table']]['title']}")
    return Table(f"table_{number:02d}", described["title"], tuple(heading), tuple(body), tuple(notes))


def paper_value(paper: Mapping[str, Any], row: str, column: Column) -> float | None:
    """What the paper has for a row of ours."""
    method = paper["rows"].get(row) if paper else None
    if isinstance(method, Mapping):
        method = method.get(column.variant)
    return None if method is None else reported(paper["table"], method, column.source, column.measure)


def score_value(cell: Cell | None, measure: str) -> Value:
    """Mean and deviation over the finished seeds."""
    if cell is None:
        return Value(text=NOT_RUN)
    if not cell.seeds:
        return Value(text="missing")
    return Value(*mean_and_deviation(cell.per_seed(measure)))


def describe_samples(cells: Cells) -> list[str]:
    """How many cases and seeds stand behind the numbers."""
    done = [cell for cell in cells.values() if cell.seeds]
    if not done:
        return []
    cases = sorted({len(cell.cases) for cell in done})
    seeds = sorted({len(cell.seeds) for cell in done})
    return [
        f"mean ± standard deviation over seeds ({span(seeds)} per row) of means over {span(cases)} held-out cases"
        + ("; no deviation where one seed ran" if 1 in seeds else "")
    ]


def span(numbers: Sequence[int]) -> str:
    """``3`` or ``1 to 3``."""
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def describe_missing(cells: Cells) -> list[str]:
    """The runs that are not finished, by name."""
    missing = list(dict.fromkeys(name for cell in cells.values() for name in cell.missing))
    return [f"missing runs ({len(missing)}): {', '.join(missing)}"] if missing else []


def describe_differing(cells: Cells) -> list[str]:
    """Rows whose seeds are not repetitions of one training."""
    return [
        f"{variant} in {place}: its seeds were trained with different {', '.join(cell.differing)}"
        for (place, variant), cell in cells.items()
        if cell.differing
    ]


def describe_undefined(cells: Cells, measures: Sequence[str]) -> list[str]:
    """Where distances are left out of means."""
    counts = {key: max(cell.undefined(measure) for measure in measures) for key, cell in cells.items() if cell.seeds}
    return [
        f"{variant} in {place}: no distance for {count} predictions, one of the two masks being empty; the means leave "
        "these out"
        for (place, variant), count in counts.items()
        if count
    ]


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
        return Value(text="missing")
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
