"""``mlbseg check``: everything in a dataset that a training would trip over, in one report."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``check``."""
    parser.add_argument("dataset", metavar="DATASET", help="raw dataset: its number, name or path")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--skip-nnunet", action="store_true", help="leave out nnU-Net's own integrity check")
    parser.add_argument("-np", dest="processes", type=int, metavar="N", help="number of processes")


def run(args: argparse.Namespace) -> int:
    """Check; return 0 without problems (warnings allowed), 1 with problems."""
    from dataset_conversion.checks.dataset import check_dataset
    from dataset_conversion.checks.report import PROBLEM, as_json, as_text
    from dataset_conversion.raw.folder import find_dataset
    from dataset_conversion.raw.names import dataset_name
    from dataset_conversion.raw.parallel import default_processes

    folder = find_dataset(args.dataset)
    processes = args.processes or default_processes()
    cases, findings = check_dataset(folder, processes, with_nnunet=not args.skip_nnunet)
    name = dataset_name(folder)
    print(json.dumps(as_json(name, cases, findings), indent=2) if args.json else as_text(name, cases, findings))
    return 1 if any(finding.severity == PROBLEM for finding in findings) else 0
