"""Options that the converters share, and what they mean together."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dataset_conversion.raw.parallel import default_processes
from dataset_conversion.raw.raw_dataset import target_folder
from dataset_conversion.simulation.corruption import NoiseSettings
from dataset_conversion.simulation.simulation import Plan, Source
from dataset_conversion.supervision.folds import group_by_patient, refuse_shared_patients
from dataset_conversion.supervision.roles import Assignment, assign_roles, read_case_list
from dataset_conversion.supervision.supervision_files import name_some
from noise_synthesis.levels import DEFAULT_LEVEL, LEVELS, parse_level
from noise_synthesis.recipe_names import DEFAULT_RECIPE, RECIPE_NAMES
from noise_synthesis.safe_io.command_line import add_common_arguments, run_command
from noise_synthesis.safe_io.errors import InputError

DEFAULT_SEED = 0
# What enters the provenance file; paths and the number of processes do not change the result.
_RECORDED = (
    "clean",
    "noisy_ratio",
    "true_ratio",
    "noise_level",
    "noise_recipe",
    "per_slice",
    "seed",
    "size",
    "nominal_spacing",
    "evaluation",
    "exclude",
    "patient_regex",
    "paper",
    "table1",
    "allow_missing",
    "spacing",
    "crop_heart",
)
_FILES = ("clean", "evaluation", "exclude")  # those that may name a list of cases


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
    roles.add_argument("--exclude", metavar="FILE", help="cases that take no part at all, as if they were not there")
    roles.add_argument("--seed", type=int, default=DEFAULT_SEED, help=f"of all draws (default: {DEFAULT_SEED})")
    noise = parser.add_argument_group("noise")
    noise.add_argument(
        "--noise-level",
        default=DEFAULT_LEVEL,
        metavar="LEVEL",
        help=f"mean Dice of noisy against true labels: {', '.join(LEVELS)} or in (0, 1) (default: {DEFAULT_LEVEL})",
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


def make_plan(args: argparse.Namespace, source: Source, assignment: Assignment) -> Plan:
    """Put together what ``simulate`` needs from the command line and the drawn roles."""
    size, nominal_spacing = getattr(args, "size", None), getattr(args, "nominal_spacing", False)
    if nominal_spacing and size is None:
        raise InputError("--nominal-spacing is for slices of one size: give it together with --size")
    return Plan(
        target=target_folder(args.dataset_id, args.name, args.force),
        assignment=assignment,
        size=size,
        nominal_spacing=nominal_spacing,
        noise=noise_settings(args),
        processes=args.processes,
        options={name: recorded(name, getattr(args, name)) for name in _RECORDED if hasattr(args, name)},
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse what is wrong whatever the source holds, before any file is read."""
    target_folder(args.dataset_id, args.name, args.force)
    parse_level(args.noise_level)
    if args.processes < 1:
        raise InputError(f"-np {args.processes}: expected at least one process")
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: expected 0 or more")


def noise_settings(args: argparse.Namespace) -> NoiseSettings:
    """Collect the noise options."""
    return NoiseSettings(args.noise_level, args.noise_recipe, args.per_slice, args.seed)


def draw_roles(
    args: argparse.Namespace,
    names: Sequence[str],
    *,
    evaluation: Sequence[str] | None = None,
    clean: int | Sequence[str] | None = None,
    together: Sequence[Sequence[str]] = (),
    patient_regex: str | None = None,
) -> Assignment:
    """Assign roles by the command line; ``evaluation`` and ``clean`` (a published split) yield to its options.

    Args:
        together: groups of cases that are held out whole or not at all.
        patient_regex: its first group in a case's name is the patient, whose cases are such a group.

    Raises:
        InputError: what the options say cannot be, or a patient would stand on both sides of the fold.
    """
    if args.exclude is not None:
        names = without(names, read_case_list(args.exclude))
    if args.evaluation is not None:
        evaluation = read_case_list(args.evaluation)
    if args.clean is not None:
        clean = int(args.clean) if re.fullmatch(r"[+-]?\d+", args.clean) else read_case_list(args.clean)
    if clean is None:
        raise InputError("--clean is missing: say how many training cases are clean, or give a file that lists them")
    if patient_regex is not None:
        together = [*together, *group_by_patient(names, patient_regex).values()]
    assignment = assign_roles(
        names,
        clean=clean,
        noisy_ratio=args.noisy_ratio,
        true_ratio=args.true_ratio,
        evaluation=evaluation,
        seed=args.seed,
        together=together,
    )
    refuse_shared_patients(assignment.splits(), patient_regex, "List whole patients by --evaluation")
    return assignment


def without(names: Sequence[str], excluded: Sequence[str]) -> list[str]:
    """The names but for those that ``--exclude`` lists, each of which must be there."""
    unknown = set(excluded) - set(names)
    if unknown:
        raise InputError(f"--exclude: no such case in the source: {name_some(unknown)}")
    return [name for name in names if name not in set(excluded)]


def present(published: Sequence[str], names: Sequence[str], allow_missing: bool, what: str) -> list[str]:
    """Return the cases of a published list that the source has.

    Raises:
        InputError: some are absent and that is not allowed, or all are.
    """
    absent = sorted(set(published) - set(names))
    if len(absent) == len(published):
        raise InputError(
            f"--paper: none of the {len(published)} {what} cases is in the source ({name_some(absent)}); without "
            "--paper a fifth of the cases is held out, or name your own with --evaluation and --clean"
        )
    if absent and not allow_missing:
        raise InputError(
            f"--paper: {len(absent)} of the {len(published)} {what} cases are not in the source: {', '.join(absent)}; "
            "go on without them by --allow-missing"
        )
    if absent:
        print(f"note: {what} cases that are not in the source: {', '.join(absent)}")
    return [name for name in published if name in set(names)]


def recorded(name: str, value: Any) -> Any:
    """Return an option as it shall stand in the provenance file: of a path only the file's name."""
    if name in _FILES and isinstance(value, str):
        return Path(value).name
    return list(value) if isinstance(value, tuple) else value


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
