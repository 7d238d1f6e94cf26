"""``mlbseg weights``: do wrong pixels get less weight? The checkpoints of a training judged by true labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.cli.evaluate import check_target
from nnunetv2_mlbseg.runtime.text_table import aligned
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import write_json

AREAS = tuple(f"AUROC {score}" for score in ("raw", "weight", "doubt"))
HEADING = ["checkpoint", "label", "pixels", "wrong %", *AREAS, "weight wrong / right"]
NOTES = (
    "AUROC of minus the weight as a detector of wrong labels: 1 perfect, 0.5 chance. raw: before normalisation; doubt:",
    "1 - the probability that the network gives the label. weight wrong / right: mean over those pixels, average 1.",
    "disputed: pixels where the label differs from the network's prediction.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mlbseg weights``."""
    parser.add_argument("model_folder", type=Path, metavar="MODEL_FOLDER", help="holds plans.json and fold_*")
    parser.add_argument("-f", dest="fold", default="0", metavar="FOLD", help="fold (default: %(default)s)")
    parser.add_argument(
        "--checkpoint",
        action="append",
        metavar="NAME",
        help="checkpoint file; may be given several times (default: warmup, latest and final, those there are)",
    )
    parser.add_argument(
        "--role",
        choices=("noisy", "unlabeled"),
        default="noisy",
        help="which cases: noisy, or unlabeled with their generated labels (default: %(default)s)",
    )
    parser.add_argument("--iterations", type=int, default=20, metavar="N", help="batches drawn (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn batches (default: %(default)s)")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers as JSON")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="draw some of the images with the last checkpoint's weights"
    )
    parser.add_argument("--channel", type=int, default=0, metavar="N", help="of the images in --picture (default: 0)")
    parser.add_argument("--force", action="store_true", help="overwrite the --json and --picture files")


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the file."""
    import torch

    from nnunetv2_mlbseg.weight_quality.measure import measure

    if args.iterations < 1:
        raise InputError(f"--iterations is {args.iterations}, expected 1 or more")
    for target in (args.json, args.picture):
        if target is not None:
            check_target(target, args.force)
    found = measure(
        args.model_folder / f"fold_{args.fold}",
        role=args.role,
        iterations=args.iterations,
        seed=args.seed,
        device=torch.device(args.device),
        checkpoints=args.checkpoint,
        picture=args.picture,
        channel=args.channel,
    )
    print("\n".join([*table(found), *NOTES]))
    if args.json is not None:
        write_json(args.json, found)
    return 0


def table(found: dict[str, Any]) -> list[str]:
    """A line per checkpoint, kind of label and set of pixels."""
    rows = [
        [
            name.removeprefix("checkpoint_").removesuffix(".pth"),
            f"{label}, {subset}",
            str(numbers["pixels"]),
            shown(numbers["share_wrong"], 100),
            *(shown(numbers[f"auroc_{score}"]) for score in ("raw_weight", "weight", "doubt")),
            f"{shown(numbers['relative_weight_wrong'])} / {shown(numbers['relative_weight_right'])}",
        ]
        for name, entry in found["checkpoints"].items()
        for label in ("imperfect", "pseudo")
        for subset, numbers in entry[label].items()
    ]
    return aligned([HEADING, *rows], left=2)


def shown(value: float | None, factor: float = 1) -> str:
    """Two decimals, or a dash where there is no value."""
    return "-" if value is None else f"{factor * value:.2f}"
