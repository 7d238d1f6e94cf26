"""PROMISE12 prostate scans (.mhd with .raw or .zraw, flat or in parts) to an nnU-Net raw dataset."""

from __future__ import annotations

import argparse
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from dataset_conversion.raw.cases import CaseSource, LoadedCase
from dataset_conversion.raw.images import check_label_values, what_is_in
from dataset_conversion.simulation.choices import check_arguments, draw_roles, make_plan, present
from dataset_conversion.simulation.dataset import Source, simulate
from dataset_conversion.simulation.options import (
    add_paper_arguments,
    add_simulation_arguments,
    add_size_argument,
    run_as_script,
)
from dataset_conversion.supervision.roles import shuffled
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.reading import read_image

DESCRIPTION = (__doc__ or "").strip()
LABELS = {"background": 0, "prostate": 1}
PERCENTILES = (1, 99)
# The authors' split file.
PAPER_CLEAN = ("Case05", "Case14", "Case29")
PAPER_EVALUATION = tuple(f"Case{number:02d}" for number in (12, 13, 16, 20, 23, 28, 34, 35, 43, 49))
PAPER_CASES = tuple(f"Case{number:02d}" for number in range(50))
PAPER_SIZE = (144, 144)
TABLE1_VALIDATION = 4
ACCEPTED = (
    "accepted layout: CaseNN.mhd with CaseNN_segmentation.mhd (and their .raw or .zraw), in the folder itself or in "
    "TrainingData_Part1 to 3 below it"
)
_CASE_FILE = re.compile(r"Case\d+\.mhd", re.IGNORECASE)


def find_cases(folder: Path) -> list[CaseSource]:
    """Return the cases with a segmentation below ``folder``, by name.

    Raises:
        InputError: no such folder, no case in it, a case twice, or a scan without its segmentation.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files = [path for depth in ("*.mhd", "*/*.mhd") for path in folder.glob(depth) if _CASE_FILE.fullmatch(path.name)]
    if not files:
        raise InputError(f"{folder}: no PROMISE12 scans found, but {what_is_in(folder)}; {ACCEPTED}")
    cases: dict[str, CaseSource] = {}
    for path in sorted(files):
        label = path.with_name(f"{path.stem}_segmentation.mhd")
        if path.stem in cases:
            raise InputError(f"{folder}: {path.stem} lies in more than one folder, one of them {path.parent.name}")
        if not label.is_file():
            raise InputError(f"{path}: no {label.name} beside it; a training case needs its label")
        cases[path.stem] = CaseSource(path.stem, partial(read_case, path, label))
    return list(cases.values())


def read_case(image_path: Path, label_path: Path) -> LoadedCase:
    """Read a scan, scaled to [0, 1] between its 1 % and 99 % intensity percentiles, and its label."""
    label = read_image(label_path)
    check_label_values(sitk.GetArrayViewFromImage(label), (0, 1), str(label_path))
    return LoadedCase([scale_by_percentiles(read_image(image_path), str(image_path))], label)


def scale_by_percentiles(image: sitk.Image, where: str) -> sitk.Image:
    """Map the 1 % intensity percentile to 0 and the 99 % one to 1, clipped to [0, 1], as float32.

    Raises:
        InputError: the percentiles are not finite or coincide, so the image is (nearly) constant.
    """
    array = sitk.GetArrayFromImage(image)
    low, high = (float(value) for value in np.percentile(array, PERCENTILES))
    if not high > low:
        raise InputError(
            f"{where}: 1 % and 99 % intensity percentiles are {low} and {high}; expected a scan with contrast"
        )
    scaled = sitk.GetImageFromArray(((array.clip(low, high) - low) / (high - low)).astype(np.float32))
    scaled.CopyInformation(image)
    return scaled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``convert promise12``."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder with the scans")
    add_simulation_arguments(parser, default_name="PROMISE12")
    add_size_argument(parser)
    add_paper_arguments(parser, "clean cases 05, 14, 29, the paper's ten evaluation cases, 144x144")
    parser.add_argument(
        "--table1",
        action="store_true",
        help="with --paper: 4 of the 10 evaluation cases (drawn) validate, the other 6 go to imagesTs and labelsTs",
    )


def run(args: argparse.Namespace) -> int:
    """Convert; return the exit code."""
    check_arguments(args)
    if args.table1 and not (args.paper and args.evaluation is None):
        raise InputError("--table1 divides the paper's evaluation cases: give it together with --paper")
    cases = find_cases(args.source)
    names, evaluation, clean, test = [case.name for case in cases], None, None, []
    if args.paper:
        args.size, args.nominal_spacing = args.size or PAPER_SIZE, True
        clean = present(PAPER_CLEAN, names, args.allow_missing, "clean")
        if args.evaluation is None:
            evaluation = present(PAPER_EVALUATION, names, args.allow_missing, "evaluation")
        names = present(PAPER_CASES, names, args.allow_missing, "training and evaluation")
    if args.table1 and evaluation is not None:
        order = shuffled(evaluation, args.seed, "table1")
        evaluation, test = order[:TABLE1_VALIDATION], order[TABLE1_VALIDATION:]
        names = [name for name in names if name not in set(test)]
    assignment = draw_roles(args, names, evaluation=evaluation, clean=clean)
    source = Source(
        description={"data_set": "PROMISE12", "layout": "mhd", "folder": args.source.resolve().name},
        cases=tuple(case for case in cases if case.name not in set(test)),
        labels=LABELS,
        test_cases=tuple(case for case in cases if case.name in set(test)),
    )
    simulate(source, make_plan(args, source, assignment))
    return 0


if __name__ == "__main__":
    sys.exit(run_as_script(DESCRIPTION, add_arguments, run))
