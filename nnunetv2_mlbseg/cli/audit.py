"""``mlbseg audit``: which noisy labels are wrong, where, what would correct them, and the dataset with it corrected."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.audit.region_words import in_words
from nnunetv2_mlbseg.runtime.text_table import aligned
from noise_synthesis.safe_io.errors import InputError

MOST_SHOWN = 10
HEADING = ["rank", "case", "score", "suspected mm3", "regions", "largest region"]


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
        "--apply",
        type=Path,
        metavar="SELECTION.json",
        help="instead of an audit: write a new version of the dataset with the labels accepted or drawn anew",
    )
    later.add_argument("--corrected", type=Path, metavar="DIR", help="the labels of accepted cases (--write-corrected)")
    later.add_argument("--reannotated", type=Path, metavar="DIR", help="the labels of re-annotated cases")
    later.add_argument(
        "-d", dest="dataset_id", type=int, metavar="ID", help="number of the new version (default: free)"
    )
    later.add_argument("--name", help="its name after the number (default: that of DATASET)")


def run(args: argparse.Namespace) -> int:
    """Audit and print the worst cases, or apply decisions."""
    if args.apply is not None:
        return apply(args)
    if args.out is None:
        raise InputError("--out is missing, expected the folder to write (or --apply SELECTION.json)")
    return audit(args)


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
        force=args.force,
        progress=lambda cases: tqdm(cases, desc="audit", unit="case", disable=None),
    )
    found = audit_fold(request)
    print("\n".join(table(found["cases"])))
    if found["witnesses"] is None:
        print("The training kept no record of how its labels err, so this begins from how labels usually err.")
    if found["weights"]["none_because"] is not None:
        print(f"No weight maps: {found['weights']['none_because']}.")
    if "measured" in found:
        print("\n".join(measured(found["measured"])))
    print(found["corrections"]["sentence"])
    print(f"All {len(found['cases'])} cases with pictures: {args.out / 'report.html'}")
    return 0


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse numbers out of range and two outputs in one place."""
    if not 0.5 <= args.evidence < 1:
        raise InputError(f"--evidence is {args.evidence}, expected 0.5 or more and below 1")
    if not 0 <= args.smallest_mm3 < float("inf"):
        raise InputError(f"--smallest-mm3 is {args.smallest_mm3}, expected 0 or more")
    if args.write_corrected is not None:
        out, corrected = args.out.resolve(), args.write_corrected.resolve()
        if out == corrected or out in corrected.parents or corrected in out.parents:
            raise InputError(f"--write-corrected {args.write_corrected}: expected a folder apart from --out {args.out}")


def table(cases: list[dict[str, Any]]) -> list[str]:
    """The worst cases, a line each."""
    rows = [
        [
            str(row["rank"]),
            row["case"],
            f"{row['score']:.3f}",
            f"{row['suspected_mm3']:.0f}",
            str(len(row["regions"])),
            largest(row["regions"]),
        ]
        for row in cases[:MOST_SHOWN]
    ]
    return aligned([HEADING, *rows], left=2)


def largest(regions: list[dict[str, Any]]) -> str:
    """The largest region in a few words."""
    return f"{in_words(regions[0])}, {regions[0]['size_mm3']:.0f} mm3" if regions else "-"


def measured(found: dict[str, Any]) -> list[str]:
    """What a comparison with true labels says, a line per detector."""
    heading = ["by", "AUROC", "avg precision", "AUROC disputed", "Spearman", "worst 10 found"]
    rows = [
        [name, *map(shown, found["detectors"].get(name, dict.fromkeys("123")).values()), *map(shown, ranking.values())]
        for name, ranking in found["rankings"].items()
    ]
    gain, right, dice = found["correction"], found["right_labels"]["worst_change"], found["knowledge"]
    return [
        *aligned([heading, *rows]),
        f"mean Dice of the network {dice['network']:.4f}, of network and label by Bayes' rule {dice['bayes']:.4f}, the "
        f"same if it were known how each label errs {dice['bayes_true_confusion']:.4f}",
        f"corrected labels: mean Dice {gain['mean_dice_before']:.4f} before, {gain['mean_dice_after']:.4f} after; "
        f"{100 * gain['share_corrected']:.0f}% of the cases corrected, {100 * gain['share_improved']:.0f}% improved, "
        f"worst change {gain['worst_change']:+.4f}",
        *(
            []
            if right is None
            else [
                f"the same on the {len(found['right_labels']['cases'])} clean labels, which are right: "
                f"worst change {right:+.4f}"
            ]
        ),
    ]


def shown(value: float | None) -> str:
    """Three decimals, or a dash where there is no value."""
    return "-" if value is None else f"{value:.3f}"
