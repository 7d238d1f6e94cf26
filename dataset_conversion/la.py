"""2018 left atrium scans (challenge NRRD folders or UA-MT h5 folders) to an nnU-Net raw dataset."""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path

from dataset_conversion.la_layouts import find_la_cases
from dataset_conversion.simulation.choices import check_arguments, draw_roles, make_plan, present
from dataset_conversion.simulation.dataset import Source, simulate
from dataset_conversion.simulation.options import (
    add_paper_arguments,
    add_simulation_arguments,
    add_size_argument,
    run_as_script,
)

DESCRIPTION = (__doc__ or "").strip()
LABELS = {"background": 0, "left_atrium": 1}
PAPER_CLEAN = 8
PAPER_SIZE = (144, 144)
# These two are one scan with one label, cropped differently: on two sides of a split they would leak.
SAME_SCAN = (("0RZDK210BSMWAA6467LU", "CMPXO4J23G58J53Q98SZ"),)


def published_list(which: str) -> list[str]:
    """Return UA-MT's list of cases; ``which`` is "train" (80 names) or "evaluation" (20)."""
    return resources.files("dataset_conversion").joinpath(f"la_{which}.list").read_text(encoding="utf-8").split()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``convert la``."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder with the scans")
    add_simulation_arguments(parser, default_name="LA")
    add_size_argument(parser)
    add_paper_arguments(parser, "8 clean cases, UA-MT's 80/20 lists, 144x144, and --crop-heart for the NRRD layout")
    parser.add_argument("--layout", choices=("auto", "h5", "nrrd"), default="auto", help="default: what is found")
    parser.add_argument(
        "--spacing", type=float, nargs=3, metavar=("X", "Y", "Z"), help="true voxel size in mm (default: 0.625 each)"
    )
    parser.add_argument(
        "--crop-heart",
        action="store_true",
        help="NRRD layout: crop in plane to the label's box, 112 voxels at least, plus 15 a side (as UA-MT)",
    )
    parser.add_argument("--testing-set", action="store_true", help="convert 'Testing Set' as well, to imagesTs")


def run(args: argparse.Namespace) -> int:
    """Convert; return the exit code."""
    check_arguments(args)
    found = find_la_cases(args.source, args.layout, args.spacing, crop_heart=args.crop_heart)
    if args.paper and found.layout == "nrrd" and not args.crop_heart:
        found = find_la_cases(args.source, found.layout, args.spacing, crop_heart=True)
    if found.testing and not args.testing_set:
        print(f"note: {len(found.testing)} cases of the testing set are left out; --testing-set converts them as well")
    source = Source(
        description={"data_set": "LA 2018", "layout": found.layout, "folder": args.source.resolve().name},
        cases=found.training,
        labels=LABELS,
        test_cases=found.testing if args.testing_set else (),
    )
    names, evaluation, clean = source.names, None, None
    if args.paper:
        args.size, args.nominal_spacing = args.size or PAPER_SIZE, True
        clean = PAPER_CLEAN
        if args.evaluation is None:
            evaluation = present(published_list("evaluation"), names, args.allow_missing, "evaluation")
            training = present(published_list("train"), names, args.allow_missing, "training")
            names = [*training, *evaluation]
    assignment = draw_roles(args, names, evaluation=evaluation, clean=clean, together=SAME_SCAN)
    simulate(source, make_plan(args, source, assignment))
    return 0


if __name__ == "__main__":
    sys.exit(run_as_script(DESCRIPTION, add_arguments, run))
