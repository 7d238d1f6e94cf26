"""A table as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable

from nnunetv2_mlbseg.study.reporting.tables import Table, Value

LATEX = {"%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$", "±": r"$\pm$", "~": r"\textasciitilde{}"}


def cell_text(value: Value) -> str:
    """``83.12 ± 0.40``, ``+1.20 [+0.30, +2.10]``, or the text; a dash where there is no number."""
    if value.text is not None:
        return value.text
    if math.isnan(value.mean):
        return "-"
    if value.interval is not None:
        low, high = value.interval
        shown = "no interval" if math.isnan(low) else f"{low:+.2f}, {high:+.2f}"
        return f"{value.mean:+.2f} [{shown}]"
    return f"{value.mean:.2f}" + ("" if math.isnan(value.deviation) else f" ± {value.deviation:.2f}")


def markdown(table: Table) -> str:
    """Title, table, remarks."""
    lines = [f"**{table.title}**", "", row_of(table.heading), row_of("---" for _ in table.heading)]
    lines += [row_of([label, *map(cell_text, values)]) for label, values in table.rows]
    lines += ["", *(f"* {note}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def row_of(cells: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def comma_separated(table: Table) -> str:
    """Numbers at full precision, every mean with its deviation or interval in columns of their own."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("mean", "standard deviation", "low", "high", "remark")
    writer.writerow([table.heading[0], *(f"{head}, {part}" for head in table.heading[1:] for part in parts)])
    for label, values in table.rows:
        writer.writerow([label, *(entry for value in values for entry in csv_entries(value))])
    return text.getvalue()


def csv_entries(value: Value) -> list[str]:
    """The parts of a cell; what it does not have is empty."""
    low, high = value.interval or (math.nan, math.nan)
    numbers = ["" if math.isnan(entry) else repr(entry) for entry in (value.mean, value.deviation, low, high)]
    return [*numbers, value.text or ""]


def latex(table: Table) -> str:
    """A ``table`` environment with a ``tabular`` (package booktabs)."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(table.heading) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(escaped, table.heading)) + r" \\", r"\midrule"]
    lines += [
        " & ".join(escaped(text) for text in [label, *map(cell_text, values)]) + r" \\" for label, values in table.rows
    ]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {escaped(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def escaped(text: str) -> str:
    """Text with LaTeX's special characters made harmless."""
    return "".join(LATEX.get(letter, letter) for letter in text)
