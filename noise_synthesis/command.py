"""``mlbseg noise`` and ``python -m noise_synthesis``: options, and what they run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from noise_synthesis.calibration.levels import DEFAULT_LEVEL, LEVELS, parse_level
from noise_synthesis.recipes.names import DEFAULT_RECIPE, RECIPE_NAMES
from noise_synthesis.safe_io.errors import InputError

if TYPE_CHECKING:
    from noise_synthesis.safe_io.label_files import LabelFormat

DEFAULT_SEED = 0
MOST_PROCESSES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "source", type=Path, nargs="?", metavar="IN", help="folder of label files (NIfTI, NRRD, MHA, PNG, BMP, TIFF)"
    )
    parser.add_argument("target", type=Path, nargs="?", metavar="OUT", help="folder to write; appears when complete")
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="PNG",
        help="draw all recipes at all levels, on labels from IN or, without IN, on made-up organs",
    )
    parser.add_argument(
        "--level",
        "--noise-level",
        dest="level",
        default=DEFAULT_LEVEL,
        metavar="LEVEL",
        help="mean Dice of each class of the corrupted labels with the true ones: a number between 0 and 1, or "
        + ", ".join(f"{name} = {dice}" for name, dice in LEVELS.items())
        + f" (default: {DEFAULT_LEVEL})",
    )
    parser.add_argument(
        "--recipe", default=DEFAULT_RECIPE, choices=RECIPE_NAMES, help=f"kind of noise (default: {DEFAULT_RECIPE})"
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help=f"of all draws (default: {DEFAULT_SEED})")
    parser.add_argument(
        "--per-slice",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="corrupt each axial slice by itself, for 2D training, or the volume in 3D (default: --per-slice)",
    )
    parser.add_argument(
        "--ignore-label", type=int, metavar="N", help="label value that means 'not annotated'; such voxels stay"
    )
    parser.add_argument(
        "-np",
        dest="processes",
        type=int,
        default=min(os.cpu_count() or 1, MOST_PROCESSES),
        metavar="N",
        help="number of processes; does not change the result (default: %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="replace OUT, if an earlier run wrote it, and the gallery")


def run(args: argparse.Namespace, format_of: Callable[[Path], LabelFormat] | None = None) -> int:
    """Corrupt the folder and say what came out; draw the gallery if wanted.

    Args:
        format_of: Says how the label files of a folder are read and written; None: by SimpleITK.
    """
    from noise_synthesis.safe_io.label_files import ITK_LABELS

    check_arguments(args)
    labels = ITK_LABELS if args.source is None or format_of is None else format_of(args.source)
    if args.gallery is not None:
        _draw_gallery(args, labels)
    if args.target is not None:
        _corrupt(args, labels)
    return 0


def _corrupt(args: argparse.Namespace, labels: LabelFormat) -> None:
    from noise_synthesis.corrupt_folder import PROVENANCE, NoiseOptions, corrupt_folder
    from noise_synthesis.safe_io.structures import regions_beside
    from noise_synthesis.summary import class_lines, summary, warn_of_missed_classes

    regions = regions_beside(args.source)
    ignore = args.ignore_label if args.ignore_label is not None or regions is None else regions.ignore
    level = parse_level(args.level)
    options = NoiseOptions(level, args.seed, args.recipe, args.per_slice, ignore, args.processes, regions)
    if regions is not None:
        print(f"regions by dataset.json, each corrupted by itself: {', '.join(regions.values)}")
    plan = corrupt_folder(args.source, args.target, options, args.force, labels)
    told = plan.provenance()
    print("\n".join([summary(told), *class_lines(told)]))
    warn_of_missed_classes(told)
    print(f"wrote {len(plan.parameters)} label files and {PROVENANCE} to {args.target}")


def _draw_gallery(args: argparse.Namespace, labels: LabelFormat) -> None:
    from noise_synthesis.gallery import draw_gallery, some_of_folder

    cases = None if args.source is None else some_of_folder(args.source, labels)
    draw_gallery(args.gallery, cases, seed=args.seed, per_slice=args.per_slice, ignore_label=args.ignore_label)
    print(f"wrote {args.gallery}")


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse what is missing or cannot be meant, before any work."""
    if args.target is None and args.gallery is None:
        raise InputError("expected two folders, IN and OUT, or --gallery PNG")
    if args.processes < 1:
        raise InputError(f"-np {args.processes}: expected at least 1")
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: expected 0 or more")
    if args.ignore_label is not None and args.ignore_label < 1:
        raise InputError(f"--ignore-label {args.ignore_label}: expected a label above 0, which is the background")
    if args.gallery is not None and args.gallery.suffix.lower() != ".png":
        raise InputError(f"--gallery {args.gallery}: expected a name ending in .png")
    if args.gallery is not None and args.gallery.exists() and not args.force:
        raise InputError(f"{args.gallery}: exists already; choose another name, or replace it with --force")
    parse_level(args.level)
