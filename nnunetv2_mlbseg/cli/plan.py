"""``mlbseg plan``: plans for a small network and a short training, beside those of nnU-Net."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json, write_json

TRAINER = "nnUNetTrainerMLBSeg"
NAME = "nnUNetPlansSmall"
MADE_FROM = "mlbseg_made_from"
"""Key of the plans that this command writes; ``--force`` replaces no others."""
FEATURES = (16, 32, 64, 128)
LARGEST_SIDE = {2: 128, 3: 64}
LARGEST_BATCH = {2: 8, 3: 2}
# Iterations that a CPU does in the time of a break.
SCHEDULE: dict[str, Any] = {
    "warmup_epochs": 10,
    "epochs": 20,
    "iterations_per_epoch": 100,
    "val_iterations_per_epoch": 10,
    "ema_decay": 0.99,  # the default averages over about as many iterations as there are here
}
OPTIONS = {"warmup_epochs": "warmup_epochs", "epochs": "epochs", "iterations": "iterations_per_epoch"}
"""Option -> the setting that it sets."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``mlbseg plan``."""
    parser.description = (
        "Write plans for a first try, a CPU or a small GPU beside those of nnU-Net, which stay as they are: a smaller "
        "network and patch, and a short schedule. Both train from the same preprocessed data. Prints the commands "
        "that follow."
    )
    parser.add_argument("dataset", metavar="DATASET", help="planned dataset: its number or name")
    parser.add_argument("-c", dest="configuration", default="2d", help="configuration (default: %(default)s)")
    parser.add_argument("--name", default=NAME, help="of the new plans, for nnU-Net's -p (default: %(default)s)")
    parser.add_argument(
        "--from",
        dest="source",
        default="nnUNetPlans",
        metavar="PLANS",
        help="plans to start from (default: %(default)s)",
    )
    parser.add_argument(
        "--patch",
        type=numbers("x", "64x64"),
        metavar="YxX",
        help="pixels, or ZxYxX (default: as planned, but no side above 128, in 3d 64)",
    )
    parser.add_argument(
        "--features",
        type=numbers(",", "16,32,64"),
        metavar="N,N,...",
        help="features in each stage of the network, at most as many stages as planned (default: 16,32,64,128)",
    )
    parser.add_argument("--batch", type=int, metavar="N", help="images (default: as planned, but at most 8, in 3d 2)")
    schedule = parser.add_argument_group("schedule of the trainers of this package")
    for option, key in OPTIONS.items():
        flag, what = f"--{option.replace('_', '-')}", f"setting {key} (default: {SCHEDULE[key]})"
        schedule.add_argument(flag, dest=option, type=int, metavar="N", help=what)
    schedule.add_argument("--config", metavar="JSON", help="further settings, as in MLBSEG_CONFIG: JSON, or its file")
    parser.add_argument("--force", action="store_true", help="replace plans that an earlier mlbseg plan wrote")


def numbers(separator: str, example: str) -> Callable[[str], list[int]]:
    """A parser of whole numbers above 0, which ``separator`` divides."""

    def parse(text: str) -> list[int]:
        parts = text.lower().split(separator)
        if not all(part.isdecimal() and int(part) for part in parts):
            raise argparse.ArgumentTypeError(f"expected numbers above 0 such as {example}, got {text!r}")
        return [int(part) for part in parts]

    return parse


def run(args: argparse.Namespace) -> int:
    """Write the plans; say what is in them and what to type next."""
    source = find_plans(args.dataset, args.source)
    target = source.with_name(f"{args.name}.json")
    check_target(target, args.source, args.force)
    plans = read_json(source)
    configuration = small_configuration(plans, args)
    made_from = f"{args.source}, {args.configuration}"
    new = {**plans, "plans_name": args.name, MADE_FROM: made_from}
    write_json(target, {**new, "configurations": {args.configuration: configuration}})
    print("\n".join(report(target, configuration, args.configuration)))
    return 0


def find_plans(dataset: str, name: str) -> Path:
    """The plans file of a dataset that a user means by a number, a name or a path.

    Raises:
        InputError: there is none.
    """
    from dataset_conversion.raw.folder import dataset_folders, environment_folder

    root = environment_folder("nnUNet_preprocessed")
    found = dataset_folders(root, int(dataset)) if dataset.isdecimal() else [root / Path(dataset).name]
    if len(found) > 1:
        raise InputError(f"dataset {dataset}: {', '.join(path.name for path in found)} all have this number in {root}")
    file = found[0] / f"{name}.json" if found else None
    if file is None or not file.is_file():
        number = dataset if dataset.isdecimal() else Path(dataset).name[7:10]
        raise InputError(
            f"dataset {dataset}: no {name}.json in {found[0] if found else root}, expected a planned dataset; plan it "
            f"with nnUNetv2_plan_and_preprocess -d {number} -c 2d"
        )
    return file


def check_target(target: Path, source: str, force: bool) -> None:
    """Refuse names that nnU-Net could not use, and files that are not this command's.

    Raises:
        InputError: one line with what to do.
    """
    name = target.stem
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]|_(?!_))*", name):
        raise InputError(f"--name {name}: expected letters, digits, '.', '-' and '_' (not two in a row) only")
    if name == source:
        raise InputError(f"--name {name}: these are the plans to start from, expected another name")
    if not target.exists():
        return
    content = read_json(target)
    if not isinstance(content, dict) or MADE_FROM not in content:
        raise InputError(f"{target}: was not written by mlbseg plan and is not replaced; choose another --name")
    if not force:
        raise InputError(f"{target}: exists already; --force replaces it, --name writes another one")


def small_configuration(plans: Mapping[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """The configuration that the arguments ask for, complete and checked.

    Raises:
        InputError: one line with what was got and what is expected.
    """
    from nnunetv2_mlbseg.networks.plans import planned, smaller
    from nnunetv2_mlbseg.settings.overrides import PLANS_KEY

    of_plan = planned(plans, args.configuration)
    if "previous_stage" in of_plan:
        raise InputError(f"-c {args.configuration}: part of a cascade, expected a configuration that trains by itself")
    sides, stages = len(of_plan["patch_size"]), of_plan["architecture"]["arch_kwargs"]["n_stages"]
    patch = args.patch or [min(side, LARGEST_SIDE[sides]) for side in of_plan["patch_size"]]
    batch = min(of_plan["batch_size"], LARGEST_BATCH[sides]) if args.batch is None else args.batch
    if batch < 1:
        raise InputError(f"--batch is {batch}, expected 1 or more")
    features = args.features or FEATURES[:stages]
    changed = smaller(plans, args.configuration, patch_size=patch, batch_size=batch, features=features)
    found = {key: value for key, value in {**of_plan, **changed}.items() if key not in ("inherits_from", "next_stage")}
    return {**found, PLANS_KEY: {**of_plan.get(PLANS_KEY, {}), **schedule(args, found)}}


def schedule(args: argparse.Namespace, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The settings for the plans file.

    Raises:
        InputError: a setting that is unknown, wrong or given twice.
    """
    from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
    from nnunetv2_mlbseg.settings.overrides import check_overrides, read_environment, resolve
    from nnunetv2_mlbseg.training.support import check_deep_supervision

    given = {key: getattr(args, option) for option, key in OPTIONS.items() if getattr(args, option) is not None}
    further = read_environment(args.config)
    for key in given.keys() & further.keys():
        raise InputError(f"{key}: given by an option and in --config, expected one of them")
    settings = {**SCHEDULE, "imperfect_batch_size": max(1, configuration["batch_size"] // 2), **given, **further}
    check_overrides(MLBSegSettings, "the schedule", settings)
    deep_supervision = resolve(MLBSegSettings, settings).deep_supervision
    stages: int = configuration["architecture"]["arch_kwargs"]["n_stages"]
    check_deep_supervision(args.configuration, stages, deep_supervision)
    return settings


def report(file: Path, configuration: Mapping[str, Any], name: str) -> list[str]:
    """What the plans hold, and the commands that follow."""
    import torch

    from nnunetv2_mlbseg.settings.overrides import PLANS_KEY

    plans, dataset, number = file.stem, file.parent, int(file.parent.name[7:10])
    device = "" if torch.cuda.is_available() else " -device cpu"
    patch = " x ".join(map(str, configuration["patch_size"]))
    features = ", ".join(map(str, configuration["architecture"]["arch_kwargs"]["features_per_stage"]))
    batch = configuration["batch_size"]
    lines = [f"{file}: {name} with patches of {patch}, batches of {batch}, features {features}"]
    settings = configuration[PLANS_KEY]
    lines.append("settings: " + ", ".join(f"{key} {value}" for key, value in settings.items()))
    lines.append("Next:")
    if not any((dataset / configuration["data_identifier"]).glob("*.pkl")):
        lines.append(f"  nnUNetv2_preprocess -d {number} -plans_name {plans} -c {name}")
    how = f"-tr {TRAINER} -p {plans}{device}"
    predict = f"nnUNetv2_predict -d {number} -i IN -o OUT -c {name} -f 0 {how}"
    return [*lines, f"  nnUNetv2_train {number} {name} 0 {how}", f"  {predict}"]
