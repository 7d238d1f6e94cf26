"""``mlbseg split``: roles and folds for a user's own dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_conversion.simulation.options import add_exclude_argument

if TYPE_CHECKING:
    from dataset_conversion.own_roles import Split

FORMER = "--former-labels"
FURTHER = "--further-labels"
CHOICE = "names, or a file that lists them, or a pattern such as 'siteA_*' (quote it), or the word rest"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``split``."""
    parser.description = (
        "Make a new raw dataset beside DATASET whose files are links to it, with roles and folds. DATASET stays as it "
        "is. Without --evaluation the folds go over the clean cases; noisy and unlabeled cases always train."
    )
    parser.add_argument("dataset", metavar="DATASET", help="raw dataset: its number, name or path")
    parser.add_argument(
        "-d", dest="dataset_id", type=int, metavar="ID", help="number of the new dataset (default: next free)"
    )
    parser.add_argument("--name", help="its name after the number (default: that of DATASET)")
    for role in ("clean", "noisy", "unlabeled", "evaluation"):
        _add_choice(parser, role, _help_of(role))
    add_exclude_argument(parser)
    parser.add_argument(
        "--source",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "CASES"),
        help="who or what drew the labels of which noisy cases; their errors are learned together (repeatable)",
    )
    parser.add_argument(
        FORMER,
        type=Path,
        metavar="DIR",
        help="labels that clean cases had before they were corrected: they tell how labels err",
    )
    parser.add_argument(
        FURTHER,
        nargs=2,
        action="append",
        default=[],
        metavar=("SOURCE", "DIR"),
        help="further labels of noisy cases, by another reader or model; also of clean cases, which tell how they err "
        "(repeatable)",
    )
    parser.add_argument(
        "--true-labels",
        type=Path,
        metavar="DIR",
        help="true labels of all noisy cases, for studies: only NoNoise trains on them",
    )
    parser.add_argument("--unlabeled-images", type=Path, metavar="DIR", help="folder of further images, without labels")
    parser.add_argument(
        "--folds", type=int, metavar="K", help="number of folds (default: 5, or as many as clean cases)"
    )
    parser.add_argument("--patient-regex", metavar="RE", help="its first group in a case's name is the patient")
    _add_choice(parser, "always-train", "clean cases that never validate")
    parser.add_argument("--seed", type=int, default=0, help="of the folds (default: 0)")
    parser.add_argument("--force", action="store_true", help="replace the new dataset if it exists")
    parser.add_argument("-np", dest="processes", type=int, metavar="N", help="number of processes")


def run(args: argparse.Namespace) -> int:
    """Make the new dataset; return the exit code."""
    from dataset_conversion.own_dataset import write_split_dataset
    from dataset_conversion.own_labels import further_labels
    from dataset_conversion.own_roles import draw_split, unlabeled_images
    from dataset_conversion.raw.dataset import read_raw_dataset
    from dataset_conversion.raw.folder import find_dataset, free_number, target_folder
    from dataset_conversion.raw.names import name_after_number
    from dataset_conversion.raw.parallel import default_processes
    from noise_synthesis.safe_io.structures import refuse_problems

    folder = find_dataset(args.dataset)
    dataset = read_raw_dataset(folder)
    refuse_problems(dataset.description, str(folder))
    name = args.name or name_after_number(folder)
    number = args.dataset_id if args.dataset_id is not None else free_number()
    target = target_folder(number, name, args.force)
    added = unlabeled_images(args.unlabeled_images, dataset) if args.unlabeled_images else []
    ending = dataset.file_ending
    former = [] if args.former_labels is None else further_labels(FORMER, args.former_labels, ending, dataset.names)
    split = draw_split(
        dataset.names,
        {role: getattr(args, role) for role in ("clean", "noisy", "unlabeled", "evaluation")},
        [case.name for case in added],
        folds=args.folds,
        seed=args.seed,
        patient_regex=args.patient_regex,
        always_train=args.always_train,
        exclude=args.exclude,
        sources=args.source,
        former=former,
    )
    further = labels_beside(args, ending, split)
    write_split_dataset(dataset, added, split, target, args.processes or default_processes(), further)
    counts = ", ".join(f"{len(cases)} {role}" for role, cases in split.supervision.by_role().items())
    print(f"{target.name}: {counts}, {len(split.evaluation)} evaluation; {len(split.folds)} folds. In {target.parent}")
    return 0


def labels_beside(args: argparse.Namespace, ending: str, split: Split) -> dict[str, dict[str, Path]]:
    """More labels of the cases, by the folder of the new dataset that they go to."""
    from dataset_conversion.own_labels import further_labels, labels_of_sources
    from dataset_conversion.raw.cases import FORMER_LABELS, TRUE_LABELS

    clean, noisy, unlabeled = split.supervision.by_role().values()
    found = labels_of_sources(FURTHER, args.further_labels, ending, noisy, clean, split.sources)
    if args.true_labels is not None:
        wanted = (*noisy, *unlabeled)
        found[TRUE_LABELS] = further_labels("--true-labels", args.true_labels, ending, wanted, needed=noisy)
    if args.former_labels is not None:
        found[FORMER_LABELS] = further_labels(FORMER, args.former_labels, ending, clean)
    return found


def _add_choice(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add an option that takes cases; given twice, it takes both."""
    parser.add_argument(f"--{name}", nargs="+", action="extend", default=[], metavar="CASES", help=text)


def _help_of(role: str) -> str:
    means = {
        "clean": "cases with expert labels",
        "noisy": "cases with doubtful labels",
        "unlabeled": "cases whose label (if any) shall not be used",
        "evaluation": "labelled cases kept for validation only, instead of folds",
    }
    return f"{means[role]}: {CHOICE}"
