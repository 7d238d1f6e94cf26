"""``mlbseg evaluate``: score predictions against reference labels; table on the terminal, JSON and CSV files."""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.runtime.text_table import aligned
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_path, write_json
from noise_synthesis.safe_io.text_lists import read_name_list

if TYPE_CHECKING:
    from nnunetv2_mlbseg.evaluation.folders import CaseScore

DISTANCES = ("hd", "hd95", "asd", "assd")
COLUMNS = ("dice", "jaccard", *(f"{name}_{unit}" for name in DISTANCES for unit in ("voxels", "mm")))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mlbseg evaluate``."""
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="folder of predicted label files")
    parser.add_argument("reference", type=Path, metavar="REFERENCE", help="folder of true label files, same names")
    parser.add_argument(
        "--cases",
        type=Path,
        metavar="FILE",
        help="score the cases of this list, all of which must be there (default: those in both folders)",
    )
    parser.add_argument("--ignore-label", type=int, metavar="N", help="leave voxels out that are N in the reference")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores and their means as JSON")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all scores as CSV, one line per case and class")
    parser.add_argument("--force", action="store_true", help="overwrite the --json and --csv files")


def run(args: argparse.Namespace) -> int:
    """Score, print the table, write the files."""
    from tqdm import tqdm

    from nnunetv2_mlbseg.evaluation.folders import evaluate_folders, not_in_both

    for target in (args.json, args.csv):
        if target is not None:
            check_target(target, args.force)
    cases = None if args.cases is None else read_name_list(args.cases)

    def with_progress(names: list[str]) -> tqdm[str]:
        return tqdm(names, desc="evaluate", unit="case", leave=False, disable=None)

    rows = [
        as_row(one)
        for one in evaluate_folders(args.predictions, args.reference, cases, args.ignore_label, progress=with_progress)
    ]
    means = summary(rows)
    print("\n".join(table(rows, means)))
    left_out = ([], []) if cases else not_in_both(args.predictions, args.reference)
    print("".join(line + "\n" for line in said_of(*left_out)), end="")
    if args.json is not None:
        content = {"mean": [without_nan(row) for row in means], "cases": [without_nan(row) for row in rows]}
        write_json(args.json, {**content, "without_prediction": left_out[0], "without_reference": left_out[1]})
    if args.csv is not None:
        write_csv(args.csv, rows)
    return 0


def check_target(target: Path, force: bool) -> None:
    """Refuse a file that exists, or whose folder does not, before any work is done."""
    if target.exists() and not force:
        raise InputError(f"{target}: exists already; --force overwrites it")
    if not target.absolute().parent.is_dir():
        raise InputError(f"{target}: the folder {target.absolute().parent} does not exist")


def as_row(one: CaseScore) -> dict[str, Any]:
    """One flat row: case, class, and the measures of ``COLUMNS``."""
    values: dict[str, Any] = {"case": one.case, "class": one.class_name}
    values |= {"dice": one.scores.dice, "jaccard": one.scores.jaccard}
    for name in DISTANCES:
        values |= {f"{name}_voxels": getattr(one.scores.voxels, name), f"{name}_mm": getattr(one.scores.mm, name)}
    return values


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per class: means over its cases. Undefined distances are counted, and left out of the means."""
    means = []
    for class_name in dict.fromkeys(row["class"] for row in rows):
        own = [row for row in rows if row["class"] == class_name]
        undefined = sum(math.isnan(row["hd_mm"]) for row in own)
        mean: dict[str, Any] = {"class": class_name, "cases": len(own), "undefined_distances": undefined}
        for column in COLUMNS:
            defined = [row[column] for row in own if not math.isnan(row[column])]
            mean[column] = sum(defined) / len(defined) if defined else math.nan
        means.append(mean)
    return means


def table(rows: Sequence[dict[str, Any]], means: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of the terminal table: Dice and Jaccard in %, each distance as voxels / mm."""
    heading = ["case", "class", "Dice %", "Jaccard %", *(f"{name.upper()} vox/mm" for name in DISTANCES)]
    body = [[row["case"], row["class"], *shown(row)] for row in rows]
    feet = [[f"mean of {row['cases']}", row["class"], *shown(row)] for row in means]
    heading_line, *lines = aligned([heading, *body, *feet], left=2)
    rule = "-" * len(heading_line)
    return [heading_line, rule, *lines[: len(body)], rule, *lines[len(body) :], *notes(means)]


def notes(means: Sequence[dict[str, Any]]) -> list[str]:
    """What a reader of the means must know: which distances they leave out."""
    return [
        f"{row['class']}: no distances in {row['undefined_distances']} of {row['cases']} cases, where one of the two "
        "masks is empty; the means leave these out"
        for row in means
        if row["undefined_distances"]
    ]


def shown(row: dict[str, Any]) -> list[str]:
    """The measures of a row as text."""
    distances = [f"{number(row[f'{name}_voxels'])} / {number(row[f'{name}_mm'])}" for name in DISTANCES]
    return [number(100 * row["dice"]), number(100 * row["jaccard"]), *distances]


def said_of(without_prediction: Sequence[str], without_reference: Sequence[str]) -> list[str]:
    """What was not scored, since it is in one folder only."""
    kinds = {
        "references without a prediction": without_prediction,
        "predictions without a reference": without_reference,
    }
    return [f"not scored: {len(cases)} {kind}: {name_some(cases)}" for kind, cases in kinds.items() if cases]


def number(value: float) -> str:
    """Two decimals, or a dash where there is no value."""
    return "-" if math.isnan(value) else f"{value:.2f}"


def without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: undefined measures become null."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """One line per case and class; undefined measures are empty."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["case", "class", *COLUMNS])
        writer.writeheader()
        writer.writerows(without_nan(row) for row in rows)
