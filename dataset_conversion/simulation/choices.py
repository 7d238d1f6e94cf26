"""What a command line chooses: roles of the cases, noise, target, and what of it is recorded."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_conversion.raw.folder import target_folder
from dataset_conversion.simulation.corruption import NoiseSettings
from dataset_conversion.simulation.dataset import Plan, Source
from dataset_conversion.supervision.case_lists import choose_cases
from dataset_conversion.supervision.files import name_some
from dataset_conversion.supervision.folds import group_by_patient, refuse_shared_patients
from dataset_conversion.supervision.roles import Assignment, assign_roles
from noise_synthesis.calibration.levels import parse_level
from noise_synthesis.safe_io.errors import InputError

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
        patient_regex: its first group in a case's name is the patient. Held-out and drawn clean patients are whole.

    Raises:
        InputError: what the options say cannot be, or a patient would stand on both sides of the fold.
    """
    left_out = set(choose_cases("--exclude", args.exclude, names))
    if args.evaluation is not None:
        evaluation = choose_cases("--evaluation", [args.evaluation], names)
    if args.clean is not None:
        number = re.fullmatch(r"[+-]?\d+", args.clean)
        clean = int(args.clean) if number else choose_cases("--clean", [args.clean], names)
    if clean is None:
        raise InputError("--clean is missing: say how many training cases are clean, or give a file that lists them")
    names = [name for name in names if name not in left_out]
    evaluation = evaluation and [name for name in evaluation if name not in left_out]
    clean = clean if isinstance(clean, int) else [name for name in clean if name not in left_out]
    patients = () if patient_regex is None else tuple(group_by_patient(names, patient_regex).values())
    assignment = assign_roles(
        names,
        clean=clean,
        noisy_ratio=args.noisy_ratio,
        true_ratio=args.true_ratio,
        evaluation=evaluation,
        seed=args.seed,
        together=together,
        patients=patients,
    )
    refuse_shared_patients(assignment.splits(), patient_regex, "List whole patients by --evaluation")
    return assignment


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
    if name in _FILES:
        texts = value if isinstance(value, list) else [value] if value else []
        names = [Path(text).name if Path(text).is_file() else text for text in texts]
        return names if len(names) > 1 else next(iter(names), None)
    return list(value) if isinstance(value, tuple) else value
