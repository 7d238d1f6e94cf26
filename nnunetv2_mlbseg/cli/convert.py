"""``mlbseg convert``: public data sets, or an existing nnU-Net dataset, to imperfect supervision."""

from __future__ import annotations

import argparse
import importlib

SOURCES = {
    "la": "2018 left atrium scans: challenge NRRD folders or UA-MT h5 folders",
    "promise12": "PROMISE12 prostate scans: .mhd with .raw or .zraw, flat or in parts",
    "nnunet": "any nnU-Net raw dataset whose labels are all clean",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a source. Its own options are parsed by its module, imported only once it is chosen."""
    described = "; ".join(f"{name}: {text}" for name, text in SOURCES.items())
    parser.add_argument("source_kind", choices=SOURCES, help=f"{described}. 'mlbseg convert la --help' tells more")
    parser.add_argument("source_options", nargs=argparse.REMAINDER, metavar="...", help="SOURCE -d ID and options")


def run(args: argparse.Namespace) -> int:
    """Run the chosen converter."""
    from dataset_conversion.simulation.options import converter_parser

    module = importlib.import_module(f"dataset_conversion.{args.source_kind}")
    parser = converter_parser(module.DESCRIPTION, module.add_arguments, prog=f"mlbseg convert {args.source_kind}")
    chosen = parser.parse_args(args.source_options)
    args.debug = args.debug or chosen.debug
    code: int = module.run(chosen)
    return code
