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
from nnunetv2_mlbseg.study.results import PERCENT, Cell, Values
from nnunetv2_mlbseg.study.statistics import CONFIDENCE, Difference, mean_and_deviation, paired_difference

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


def score_table(study: Study, described: Mapping[str, Any], cells: Cells, number: int) -> Table:
    """Mean and deviation over seeds; rows are variants, or settings."""
    by_variant = described["layout"] == "variants"
    places, variants, measures = described["places"], described["variants"], described["measures"]
    if by_variant:
        columns = [(place, measure) for place in places for measure in measures]
        keys = [[(place, variant) for place, _ in columns] for variant in variants]
        rows, labels = list(variants), [study.variants[variant].title for variant in variants]
        heads = [place if len(places) > 1 else "" for place, _ in columns]
        kinds = [measure for _, measure in columns]
        of_datasets = [place.partition("/")[0] for place, _ in columns]
    else:
        rows = list(dict.fromkeys(place.partition("/")[2] for place in places))
        labels = rows
        of = list(dict.fromkeys(place.partition("/")[0] for place in places))
        wide = [(dataset, variant, measure) for dataset in of for variant in variants for measure in measures]
        keys = [[(f"{dataset}/{setting}", variant) for dataset, variant, _ in wide] for setting in rows]
        heads = [
            ", ".join([*([d] if len(of) > 1 else []), *([study.variants[v].title] if len(variants) > 1 else [])])
            for d, v, _ in wide
        ]
        kinds = [measure for *_, measure in wide]
        of_datasets = [dataset for dataset, *_ in wide]
    paper = described["paper"]
    beside = [
        bool(paper) and any(paper_value(paper, row, d, kind) is not None for row in rows)
        for d, kind in zip(of_datasets, kinds, strict=True)
    ]
    heading = ["setting" if not by_variant else "row"]
    for head, kind, has_paper in zip(heads, kinds, beside, strict=True):
        title = " ".join(filter(None, (f"{head}:" if head else "", measure_name(kind))))
        heading += [title, *([f"{title} (paper)"] if has_paper else [])]
    body = []
    for row, label, own in zip(rows, labels, keys, strict=True):
        if not any(key in cells for key in own):
            continue  # the study file keeps this row out of these settings
        values: list[Value] = []
        for key, kind, dataset, has_paper in zip(own, kinds, of_datasets, beside, strict=True):
            values.append(score_value(cells.get(key), kind))
            if has_paper:
                found = paper_value(paper, row, dataset, kind)
                values.append(Value(text="") if found is None else Value(mean=found))
        body.append((label, tuple(values)))
    used = [cells[key] for own in keys for key in own if key in cells]
    notes = [*describe_samples(used), *describe_missing(used), *describe_undefined(keys, kinds, cells)]
    if paper:
        notes.append(f"(paper): as the paper reports, {paper_numbers()['tables'][paper['table']]['title']}")
    return Table(f"table_{number:02d}", described["title"], tuple(heading), tuple(body), tuple(dict.fromkeys(notes)))


def paper_value(paper: Mapping[str, Any], row: str, dataset: str, measure: str) -> float | None:
    """What the paper has for a row of ours."""
    method = paper["rows"].get(row)
    return None if method is None else reported(paper["table"], method, dataset, measure)


def score_value(cell: Cell | None, measure: str) -> Value:
    """Mean and deviation over the finished seeds."""
    if cell is None:
        return Value(text=NOT_RUN)
    if not cell.seeds:
        return Value(text="missing")
    return Value(*mean_and_deviation(cell.per_seed(measure)))


def describe_samples(cells: Sequence[Cell]) -> list[str]:
    """How many cases and seeds stand behind the numbers."""
    done = [cell for cell in cells if cell.seeds]
    if not done:
        return []
    cases = sorted({len(cell.cases) for cell in done})
    seeds = sorted({len(cell.seeds) for cell in done})
    return [
        f"mean ± standard deviation over {span(seeds)} seeds of means over {span(cases)} held-out cases"
        + ("; no deviation where one seed ran" if 1 in seeds else "")
    ]


def span(numbers: Sequence[int]) -> str:
    """``3`` or ``1 to 3``."""
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def describe_missing(cells: Sequence[Cell]) -> list[str]:
    """The runs that are not finished, by name."""
    missing = list(dict.fromkeys(name for cell in cells for name in cell.missing))
    return [f"{len(missing)} runs are missing: {', '.join(missing)}"] if missing else []


def describe_undefined(keys: Sequence[Sequence[tuple[str, str]]], kinds: Sequence[str], cells: Cells) -> list[str]:
    """Where distances are left out of means."""
    found = {}
    for own in keys:
        for key, kind in zip(own, kinds, strict=True):
            if kind not in PERCENT and key in cells and cells[key].undefined(kind):
                found[key] = cells[key].undefined(kind)
    return [
        f"{variant} in {place}: no distance for {count} predictions, one of the two masks being empty; the means leave "
        "these out"
        for (place, variant), count in found.items()
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
        raise ValueError("cells of one setting hold different cases")
    return paired_difference(of_seeds(ours, measure, seeds), of_seeds(theirs, measure, seeds))


def of_seeds(cell: Cell, measure: str, seeds: Sequence[int]) -> Values:
    """Mean over these seeds of every case; NaN where one of them has no value."""
    rows = [cell.scores[measure][cell.seeds.index(seed)] for seed in seeds]
    return np.asarray(np.mean(rows, axis=0))
