"""``mlbseg audit``: which noisy labels are wrong, where, what would correct them, and the dataset with it corrected."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from nnunetv2_mlbseg.cli.audit_printed import print_audit, to_label
from nnunetv2_mlbseg.cli.open_in import open_in
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.output_folder import overlap

OF_OTHER_USES = {
    "--corrected": ("corrected", "to write corrected labels use --write-corrected, to read them --apply or --open-in"),
    "--reannotated": ("reannotated", "it belongs to --apply or --open-in"),
    "-d": ("dataset_id", "it belongs to --apply"),
    "--name": ("name", "it belongs to --apply"),
}
"""Options that an audit would not read: where each is kept, and what to do instead."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mlbseg audit``."""
    parser.add_argument("dataset", metavar="DATASET", help="raw dataset: its number, name or path")
    parser.add_argument("-tr", dest="trainer", default="nnUNetTrainerMLBSeg", help="trainer (default: %(default)s)")
    parser.add_argument("-p", dest="plans", default="nnUNetPlans", help="plans (default: %(default)s)")
    parser.add_argument("-c", dest="configuration", default="2d", help="configuration (default: %(default)s)")
    parser.add_argument("-f", dest="fold", default="0", metavar="FOLD", help="fold, or all (default: %(default)s)")
    parser.add_argument("--checkpoint", default="checkpoint_final.pth", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write")
    parser.add_argument("--write-corrected", type=Path, metavar="DIR", help="write corrected labels to this folder")
    parser.add_argument(
        "--correct-anyway",
        action="store_true",
        help="correct every label, also where the audit expects that to spoil labels",
    )
    parser.add_argument(
        "--evidence",
        type=float,
        default=0.85,
        metavar="P",
        help="a corrected label differs where the given one is wrong with this probability (default: %(default)s)",
    )
    parser.add_argument(
        "--smallest-mm3", type=float, default=10.0, metavar="V", help="list no smaller regions (default: %(default)s)"
    )
    parser.add_argument(
        "--channel", type=int, default=0, metavar="N", help="of the images in the report (default: %(default)s)"
    )
    parser.add_argument(
        "--to-label", type=int, default=0, metavar="N", help="also choose N unlabeled cases that a person should label"
    )
    parser.add_argument(
        "--measure", action="store_true", help="compare with the true labels in labelsTr_true, for studies"
    )
    parser.add_argument(
        "--compare-with",
        metavar="TRAINER",
        help="with --measure: also judge the network of another trainer on the same fold and plans",
    )
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument(
        "--force", action="store_true", help="replace the folders of an earlier audit, or the -d dataset"
    )
    later = parser.add_argument_group("after a person looked at the report")
    later.add_argument(
        "--open-in",
        nargs=2,
        metavar=("VIEWER", "CASE"),
        help="instead of an audit: show a case of the audit in --out by itksnap or slicer, to draw its label anew",
    )
    later.add_argument(
        "--apply",
        type=Path,
        metavar="SELECTION.json",
        help="instead of an audit: write a new version of the dataset with the labels accepted or drawn",
    )
    later.add_argument("--corrected", type=Path, metavar="DIR", help="the corrected labels (--write-corrected)")
    later.add_argument(
        "--reannotated",
        type=Path,
        metavar="DIR",
        help="the labels that were drawn (default of --open-in: beside --out, with _redrawn after its name)",
    )
    later.add_argument(
        "-d", dest="dataset_id", type=int, metavar="ID", help="number of the new version (default: free)"
    )
    later.add_argument("--name", help="its name after the number (default: that of DATASET)")


def run(args: argparse.Namespace) -> int:
    """Audit and print the worst cases, show one, or apply decisions."""
    if args.apply is not None and args.open_in is not None:
        raise InputError("--open-in and --apply: expected one of them at a time")
    if args.apply is not None:
        return apply(args)
    if args.out is None:
        what = "to write (or --apply SELECTION.json)" if args.open_in is None else "of the audit"
        raise InputError(f"--out is missing, expected the folder {what}")
    return audit(args) if args.open_in is None else open_in(args, *args.open_in)


def apply(args: argparse.Namespace) -> int:
    """Write the new version of the dataset."""
    from dataset_conversion.raw.folder import find_dataset, free_number, target_folder
    from dataset_conversion.raw.names import name_after_number
    from nnunetv2_mlbseg.audit.revision import revise
    from nnunetv2_mlbseg.audit.selection import ACCEPTED, REANNOTATED

    raw = find_dataset(args.dataset).absolute()
    number = args.dataset_id if args.dataset_id is not None else free_number()
    target = target_folder(number, args.name or name_after_number(raw), args.force)
    if target.exists() and target.samefile(raw):
        raise InputError(f"-d {number}: the dataset itself, which stays as it is; choose another number")
    folders = {ACCEPTED: args.corrected, REANNOTATED: args.reannotated}
    found = revise(raw, args.apply, folders, target)
    counts = ", ".join(f"{len(cases)} {role}" for role, cases in found.supervision.by_role().items())
    print(f"{target.name}: {len(found.replaced)} labels replaced; {counts}. In {target.parent}")
    print(f"Train again: nnUNetv2_plan_and_preprocess -d {number}, then nnUNetv2_train {number} ... -tr {args.trainer}")
    return 0


def audit(args: argparse.Namespace) -> int:
    """Audit, print the worst cases."""
    import torch
    from tqdm import tqdm

    from dataset_conversion.raw.folder import find_dataset
    from dataset_conversion.raw.names import dataset_name
    from nnunetv2_mlbseg.audit.fold import audit_fold
    from nnunetv2_mlbseg.audit.fold_place import FoldPlace
    from nnunetv2_mlbseg.audit.one_case import Thresholds
    from nnunetv2_mlbseg.audit.request import AuditRequest

    check_numbers(args)
    if args.compare_with and not args.measure:
        raise InputError("--compare-with needs --measure: it is for comparisons with true labels")
    raw = find_dataset(args.dataset).absolute()
    place = FoldPlace(dataset_name(raw), args.trainer, args.plans, args.configuration, args.fold, args.checkpoint)
    request = AuditRequest(
        place,
        raw,
        args.out,
        torch.device(args.device),
        thresholds=Thresholds(args.evidence, args.smallest_mm3),
        corrected=args.write_corrected,
        measure=args.measure,
        compare_with=dataclasses.replace(place, trainer=args.compare_with) if args.compare_with else None,
        channel=args.channel,
        correct_anyway=args.correct_anyway,
        to_label=args.to_label,
        force=args.force,
        progress=lambda cases: tqdm(cases, desc="audit", unit="case", disable=None),
    )
    found = audit_fold(request)
    if found["cases"]:
        print_audit(found, args.out / "report.html")
    else:
        print(f"No label to audit: fold {args.fold} has no noisy case.")
    if "to_label" in found:
        print("\n".join(["To label next:", *to_label(found["to_label"]), f"As a table: {args.out / 'to_label.csv'}"]))
    return 0


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse numbers out of range, two outputs in one place, and options that another use of the command has."""
    for option, (name, instead) in OF_OTHER_USES.items():
        if getattr(args, name) is not None:
            raise InputError(f"{option} says nothing to an audit: {instead}")
    if args.to_label < 0:
        raise InputError(f"--to-label is {args.to_label}, expected 1 or more")
    if not 0.5 <= args.evidence < 1:
        raise InputError(f"--evidence is {args.evidence}, expected 0.5 or more and below 1")
    if not 0 <= args.smallest_mm3 < float("inf"):
        raise InputError(f"--smallest-mm3 is {args.smallest_mm3}, expected 0 or more")
    if args.write_corrected is not None and overlap(args.out, args.write_corrected):
        raise InputError(f"--write-corrected {args.write_corrected}: expected a folder apart from --out {args.out}")
