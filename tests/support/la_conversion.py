"""``convert la`` within this process, on the scans that the tests make for it."""

from __future__ import annotations

from pathlib import Path

from dataset_conversion import la
from dataset_conversion.simulation.options import run_as_script

NAMES = [f"SCAN{number:02d}" for number in range(10)]


def convert(*arguments: object) -> int:
    """The converter with these arguments."""
    return run_as_script(la.DESCRIPTION, la.add_arguments, la.run, [str(argument) for argument in arguments])


def usual(source: Path, *more: object) -> int:
    """The converter with two clean cases and weak noise."""
    return convert(source, "-d", 501, "--clean", 2, "--noise-level", 0.8, "-np", 1, *more)
