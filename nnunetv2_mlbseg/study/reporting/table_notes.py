"""What a reader of a table must know: samples, missing runs, unlike trainings, values left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnunetv2_mlbseg.study.reporting.results import Cell

Cells = Mapping[tuple[str, str], Cell]


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
