"""``mlbseg export``: a model folder that a stock nnU-Net predicts with.

The architecture is the plan's (a trainer that builds another one is refused), so it is enough to name nnU-Net's
trainer in the checkpoint and to leave out what only our trainer reads.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
from pathlib import Path
from typing import Any

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json, write_json
from noise_synthesis.safe_io.output_folder import complete_folder, overlap

STOCK_TRAINER = "nnUNetTrainer"
PLANS = "plans.json"
DESCRIPTIONS = ("dataset.json", "dataset_fingerprint.json")  # copied as they are; nnU-Net may lack the second
KEPT_FIELDS = ("init_args", "inference_allowed_mirroring_axes", "current_epoch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mlbseg export``."""
    parser.add_argument("model_folder", type=Path, metavar="MODEL_FOLDER", help="holds plans.json and fold_*")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write")
    parser.add_argument(
        "--network", choices=("student", "teacher"), help="default: the one chosen by inference_network in training"
    )
    parser.add_argument("--checkpoint", default="checkpoint_final.pth", metavar="NAME", help="default: %(default)s")
    parser.add_argument("--force", action="store_true", help="replace the export that OUT holds")


def run(args: argparse.Namespace) -> int:
    """Write OUT under a temporary name beside it, then rename."""
    model = args.model_folder
    checkpoints = find_checkpoints(model, args.checkpoint)
    if overlap(args.out, model):
        raise InputError(f"{args.out}: expected a folder apart from the model {model}")
    with complete_folder(args.out, PLANS, args.force) as folder:
        write_descriptions(model, folder)
        for checkpoint in checkpoints:
            export_checkpoint(checkpoint, folder / checkpoint.parent.name, args.network)
    folds = " ".join(checkpoint.parent.name.removeprefix("fold_") for checkpoint in checkpoints)
    chk = "" if args.checkpoint == "checkpoint_final.pth" else f" -chk {args.checkpoint}"
    quoted = shlex.quote(str(args.out))
    print(f"Predict with it: nnUNetv2_predict_from_modelfolder -i IN -o OUT -m {quoted} -f {folds}{chk}")
    return 0


def find_checkpoints(model: Path, name: str) -> list[Path]:
    """The checkpoint of every fold that has one."""
    if not (model / PLANS).is_file():
        raise InputError(f"{model}: no plans.json; expected a folder such as .../nnUNetTrainerMLBSeg__nnUNetPlans__2d")
    found = sorted(model.glob(f"fold_*/{name}"))
    if not found:
        raise InputError(f"{model}: no fold has {name}; the training has not finished, or --checkpoint names another")
    return found


def write_descriptions(model: Path, target: Path) -> None:
    """Plans without our key, and nnU-Net's descriptions of the data."""
    write_json(target / PLANS, without_our_key(read_json(model / PLANS)))
    for name in DESCRIPTIONS:
        if (model / name).is_file():
            shutil.copy(model / name, target)


def export_checkpoint(checkpoint_file: Path, target: Path, network: str | None) -> None:
    """Write what inference reads, under nnU-Net's own trainer name."""
    import torch

    from nnunetv2_mlbseg.progress import checkpoint

    found = checkpoint.read(checkpoint_file, torch.device("cpu"))
    if found["mlbseg"].get("own_network"):
        raise InputError(
            f"{checkpoint_file}: {found['trainer_name']} builds a network of its own, expected the one of the plans; a "
            f"stock nnU-Net cannot build it, so predict with nnUNetv2_predict where this package is installed"
        )
    fields: dict[str, Any] = {name: found[name] for name in KEPT_FIELDS}
    fields["init_args"] = {**found["init_args"], "plans": without_our_key(found["init_args"]["plans"])}
    fields["network_weights"] = found[f"{network}_weights" if network else "network_weights"]
    fields["trainer_name"] = STOCK_TRAINER
    target.mkdir()
    checkpoint.write(fields, target / checkpoint_file.name)


def without_our_key(plans: dict[str, Any]) -> dict[str, Any]:
    """The plans with the key ``mlbseg`` taken out of every configuration."""
    configurations = {
        name: {key: value for key, value in configuration.items() if key != "mlbseg"}
        for name, configuration in plans["configurations"].items()
    }
    return {**plans, "configurations": configurations}
