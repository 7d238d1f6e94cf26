"""Tables of a study as plain rows of cells; :mod:`render` turns them into Markdown, CSV and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunetv2_mlbseg.study.reading.description import Study
from nnunetv2_mlbseg.study.reading.paper import paper_numbers, reported
from nnunetv2_mlbseg.study.reading.report_entries import DEFAULT_MEASURES
from nnunetv2_mlbseg.study.reporting.results import Cell
from nnunetv2_mlbseg.study.reporting.statistics import mean_and_deviation
from nnunetv2_mlbseg.study.reporting.table_notes import (
    describe_differing,
    describe_missing,
    describe_samples,
    describe_undefined,
)

Cells = Mapping[tuple[str, str], Cell]
NOT_RUN = "not in this study"
MISSING = "missing"
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
        return Value(text=MISSING)
    return Value(*mean_and_deviation(cell.per_seed(measure)))
