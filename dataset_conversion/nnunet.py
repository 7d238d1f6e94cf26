"""Any nnU-Net raw dataset with clean labels to one with simulated imperfect supervision."""

from __future__ import annotations

import argparse
import sys

from dataset_conversion.raw.dataset import RawDataset, read_raw_dataset
from dataset_conversion.raw.folder import find_dataset
from dataset_conversion.raw.formats import dataset_format
from dataset_conversion.raw.linked_cases import LinkedCase
from dataset_conversion.raw.names import dataset_name, name_after_number
from dataset_conversion.simulation.choices import check_arguments, draw_roles, make_plan
from dataset_conversion.simulation.dataset import Source, simulate
from dataset_conversion.simulation.options import add_simulation_arguments, run_as_script
from dataset_conversion.supervision.files import SUPERVISION_FOLDER
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import refuse_problems

DESCRIPTION = (__doc__ or "").strip()


def source_of(dataset: RawDataset) -> Source:
    """Describe a raw dataset as a source of cases.

    Raises:
        InputError: its labels are imperfect already, or nnU-Net cannot train on them.
    """
    refuse_problems(dataset.description, str(dataset.folder))
    if (dataset.folder / SUPERVISION_FOLDER).exists():
        raise InputError(f"{dataset.folder}: has a folder '{SUPERVISION_FOLDER}', so its labels are imperfect already")
    files = dataset_format(dataset.description, dataset.examples)
    return Source(
        description={"data_set": "nnU-Net raw dataset", "layout": "nnunet", "folder": dataset_name(dataset.folder)},
        cases=tuple(LinkedCase(case, dataset.channels, files) for case in dataset.cases),
        labels=dataset.labels,
        channel_names=dataset.description["channel_names"],
        file_ending=dataset.file_ending,
        label_format=files,
        further=dataset.further,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``convert nnunet``."""
    parser.add_argument("source", metavar="DATASET", help="raw dataset: its number, name or path; it stays untouched")
    add_simulation_arguments(parser, default_name=None)
    parser.add_argument(
        "--patient-regex",
        metavar="RE",
        help="its first group in a case's name is the patient, who is held out, or drawn as clean, with all cases; "
        "--clean N then takes whole patients until N cases or more are clean",
    )


def run(args: argparse.Namespace) -> int:
    """Convert; return the exit code."""
    folder = find_dataset(args.source)
    if args.name is None:
        args.name = name_after_number(folder)
    check_arguments(args)
    source = source_of(read_raw_dataset(folder))
    simulate(source, make_plan(args, source, draw_roles(args, source.names, patient_regex=args.patient_regex)))
    return 0


if __name__ == "__main__":
    sys.exit(run_as_script(DESCRIPTION, add_arguments, run))
