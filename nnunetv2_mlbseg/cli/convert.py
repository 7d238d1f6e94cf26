"""``mlbseg convert``: public data sets, or an existing nnU-Net dataset, to imperfect supervision."""

from __future__ import annotations

import argparse

HELP = "make a raw dataset with clean, noisy and unlabeled cases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one subcommand per source."""
    # Imported when the command is chosen or described, so that 'mlbseg --help' stays light.
    from dataset_conversion import la, nnunet, promise12
    from noise_synthesis.command_line import add_common_arguments

    sources = parser.add_subparsers(dest="source_kind", required=True, metavar="{la,promise12,nnunet}")
    for name, module in (("la", la), ("promise12", promise12), ("nnunet", nnunet)):
        summary = module.DESCRIPTION.strip().splitlines()[0]
        source = sources.add_parser(name, help=summary, description=summary)
        module.add_arguments(source)
        add_common_arguments(source)
        source.set_defaults(convert=module.run)


def run(args: argparse.Namespace) -> int:
    """Run the chosen converter."""
    code: int = args.convert(args)
    return code
