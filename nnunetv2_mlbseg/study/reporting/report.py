"""Everything a study ends in: tables and figures of the runs that are finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunetv2_mlbseg.study.reading.description import FINAL, Study
from nnunetv2_mlbseg.study.reading.runs import Run
from nnunetv2_mlbseg.study.reporting.differences import difference_table
from nnunetv2_mlbseg.study.reporting.figures import write_figures
from nnunetv2_mlbseg.study.reporting.render import comma_separated, latex, markdown
from nnunetv2_mlbseg.study.reporting.results import read_cells
from nnunetv2_mlbseg.study.reporting.tables import Table, score_table, tables_of
from noise_synthesis.safe_io.files import write_text


def write_report(study: Study, runs: Sequence[Run], out: Path) -> None:
    """Write ``report.md``, each table as Markdown, CSV and LaTeX, and the figures; print the tables."""
    tables = study_tables(study, runs, out)
    folder = out / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        for ending, text in ((".md", markdown(table)), (".csv", comma_separated(table)), (".tex", latex(table))):
            write_text(folder / f"{table.name}{ending}", text)
    report = "\n".join(markdown(table) for table in tables)
    pictures = "\n".join(f"![]({path.relative_to(out)})\n" for path in write_figures(study, runs, out))
    write_text(out / "report.md", f"# {study.name}\n\n{report}\n{pictures}".rstrip() + "\n")
    print(
        f"\n{report}\nAlso in {out / 'report.md'}, with figures if there are any; tables as CSV and LaTeX beside it.\n"
    )


def study_tables(study: Study, runs: Sequence[Run], out: Path) -> list[Table]:
    """All tables of the final checkpoints, then those of the other networks that the study asks for."""
    found = []
    number = 0
    for network in (FINAL, *study.networks):
        for described in tables_of(study):
            number += 1
            if network != FINAL:
                described["title"] += f" ({network})"
            cells = read_cells(study, runs, out, described["measures"], network)
            found.append(score_table(study, described, cells, number))
            differences = difference_table(study, described, cells, number)
            if differences is not None:
                found.append(differences)
    return found
