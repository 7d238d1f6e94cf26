"""Options that the converters share, and how a converter runs as a script."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence

from dataset_conversion.raw.parallel import default_processes
from noise_synthesis.calibration.levels import DEFAULT_LEVEL, LEVELS
from noise_synthesis.recipes.names import DEFAULT_RECIPE, RECIPE_NAMES
from noise_synthesis.safe_io.command_line import add_common_arguments, run_command

DEFAULT_SEED = 0


def add_simulation_arguments(parser: argparse.ArgumentParser, default_name: str | None) -> None:
    """Add what every converter takes: where to, which roles, which noise."""
    parser.add_argument(
        "-d", dest="dataset_id", type=int, required=True, metavar="ID", help="number of the new dataset, as in nnU-Net"
    )
    parser.add_argument("--name", default=default_name, help=f"name after the number (default: {default_name})")
    roles = parser.add_argument_group("roles")
    roles.add_argument("--clean", metavar="N|FILE", help="how many training cases are clean, or a file that lists them")
    roles.add_argument(
        "--noisy-ratio",
        type=float,
        default=1.0,
        metavar="R",
        help="share (0..1) of the non-clean training cases with noisy labels; the rest is unlabeled (default: 1)",
    )
    roles.add_argument(
        "--true-ratio",
        type=float,
        default=0.0,
        metavar="T",
        help="upper bound: share of the non-clean training cases that act as noisy with their true label (default: 0)",
    )
    roles.add_argument("--evaluation", metavar="FILE", help="held-out cases (default: a drawn fifth)")
    add_exclude_argument(roles)
    roles.add_argument("--seed", type=int, default=DEFAULT_SEED, help=f"of all draws (default: {DEFAULT_SEED})")
    noise = parser.add_argument_group("noise")
    noise.add_argument(
        "--noise-level",
        default=DEFAULT_LEVEL,
        metavar="LEVEL",
        help=f"mean Dice of each class with true labels: {', '.join(LEVELS)} or in (0, 1) (default: {DEFAULT_LEVEL})",
    )
    noise.add_argument(
        "--noise-recipe",
        "--recipe",
        dest="noise_recipe",
        default=DEFAULT_RECIPE,
        choices=RECIPE_NAMES,
        help=f"kind of noise (default: {DEFAULT_RECIPE})",
    )
    noise.add_argument(
        "--per-slice",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="corrupt every axial slice on its own, or the volume in 3D (default: --per-slice)",
    )
    parser.add_argument("--force", action="store_true", help="replace the dataset of this number and name")
    parser.add_argument(
        "-np", dest="processes", type=int, default=default_processes(), metavar="N", help="number of processes"
    )


def add_exclude_argument(parser: argparse._ActionsContainer) -> None:
    """Add ``--exclude``, the same for ``convert`` and ``split``."""
    parser.add_argument(
        "--exclude",
        nargs="+",
        action="extend",
        default=[],
        metavar="CASES",
        help="cases that take no part at all, as if they were not there: names, patterns for them, or files of lists",
    )


def add_size_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--size`` and ``--nominal-spacing`` for converters that write the images anew."""
    parser.add_argument(
        "--size", type=parse_size, metavar="WxH", help="in-plane pixels, for example 144x144 (default: native)"
    )
    parser.add_argument(
        "--nominal-spacing",
        action="store_true",
        help="with --size: spacing 1 on every axis, so that nnU-Net cuts axial slices and resamples none of them; "
        "the true spacing is kept in provenance.json",
    )


def add_paper_arguments(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add ``--paper`` and ``--allow-missing`` for data sets with a published split."""
    parser.add_argument("--paper", action="store_true", help=meaning)
    parser.add_argument("--allow-missing", action="store_true", help="go on without cases of the published split")


def parse_size(text: str) -> tuple[int, int]:
    """Turn ``144x144`` into ``(144, 144)``."""
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not match or "0" in match.groups():
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 144x144, got {text!r}")
    return int(match[1]), int(match[2])


def converter_parser(
    description: str, add_arguments: Callable[[argparse.ArgumentParser], None], prog: str | None = None
) -> argparse.ArgumentParser:
    """Return the parser of one converter, the same for the script and for ``mlbseg convert``."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    add_arguments(parser)
    add_common_arguments(parser)
    return parser


def run_as_script(
    description: str,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None = None,
) -> int:
    """Run one converter as ``python -m dataset_conversion.<name>`` with the options of ``mlbseg convert <name>``."""
    return run_command(run, converter_parser(description, add_arguments).parse_args(argv))
