"""The command ``mlbseg``. Nothing heavy is imported before a subcommand runs, so that ``--help`` is instant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from nnunetv2_mlbseg import __version__
from nnunetv2_mlbseg.cli import (
    audit,
    check,
    convert,
    demo,
    doctor,
    evaluate,
    export,
    methods,
    noise,
    plan,
    split,
    study,
    weights,
)
from noise_synthesis.safe_io.command_line import add_common_arguments, run_command

COMMANDS = {
    "demo": (demo, "the whole workflow on synthetic scans, on the CPU, in minutes"),
    "doctor": (doctor, "does nnU-Net find the trainer; are versions, paths and devices fit"),
    "convert": (convert, "LA, PROMISE12 or any nnU-Net dataset to a dataset with imperfect labels"),
    "split": (split, "roles and folds for your own dataset"),
    "noise": (noise, "corrupt a folder of label files to a target Dice"),
    "check": (check, "everything in a dataset that a training would trip over"),
    "methods": (methods, "every trainer: what it does, which labels it reads, what it costs, who proposed it"),
    "plan": (plan, "plans for a small network and a short training, beside those of nnU-Net"),
    "evaluate": (evaluate, "Dice, Jaccard and surface distances of predictions"),
    "weights": (weights, "do wrong pixels get less weight, by true labels (for studies)"),
    "audit": (audit, "which noisy labels are wrong, where, and what would correct them"),
    "export": (export, "a model folder that a stock nnU-Net predicts with"),
    "study": (study, "data sets x settings x variants x seeds from one file, to tables and figures"),
}


class CommandParser(argparse.ArgumentParser):
    """The parser of a subcommand, filled when that subcommand is chosen: some options need imports to be described."""

    module: ModuleType | None = None

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Add the options, once, then parse. What stands after ``--`` is for a program that the subcommand starts."""
        rest: list[str] = []
        if getattr(self.module, "TAKES_REST", False) and "--" in (args or []):
            cut = args.index("--")
            args, rest = args[:cut], args[cut + 1 :]
        if self.module is not None:
            module, self.module = self.module, None
            module.add_arguments(self)
            if "--debug" not in self._option_string_actions:
                add_common_arguments(self)
        found, unknown = super().parse_known_args(args, namespace)
        found.rest = rest
        return found, unknown


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; every subcommand sets ``run``."""
    parser = argparse.ArgumentParser(
        prog="mlbseg", description="nnU-Net trained on few clean, many noisy and many unlabeled cases (MLB-Seg)."
    )
    parser.add_argument("--version", action="version", version=f"mlbseg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=CommandParser)
    for name, (module, description) in COMMANDS.items():
        command = commands.add_parser(name, help=description, description=f"{description[0].upper()}{description[1:]}.")
        command.module = module
        command.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns its exit code."""
    args = build_parser().parse_args(arguments)
    return run_command(args.run, args)


if __name__ == "__main__":
    sys.exit(main())
