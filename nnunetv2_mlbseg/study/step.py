"""One step of a study, as Snakemake starts it: the commands that a user would type, and a file that says it is done.

``python -m nnunetv2_mlbseg.study.step convert|preprocess|train|evaluate|evaluate_NETWORK STUDY.json FOLDER``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from nnunetv2_mlbseg import __version__
from nnunetv2_mlbseg.study.reading.converter_options import arguments_of
from nnunetv2_mlbseg.study.reading.description import NETWORKS
from nnunetv2_mlbseg.study.running.commands import Commands, end_on_signals, nnunet_environment
from nnunetv2_mlbseg.study.running.gpus import one_gpu
from nnunetv2_mlbseg.study.running.locks import locked
from nnunetv2_mlbseg.study.running.scoring import evaluate
from nnunetv2_mlbseg.study.running.training import Study, Training
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json, write_json


def convert(study: Study, root: Path, folder: str) -> None:
    """Make the raw dataset of a setting, or link one that is there already."""
    described, target = study["data"][folder], root / folder
    raw = target / "nnUNet_raw"
    raw.mkdir(parents=True, exist_ok=True)
    source = Path(described["source"])
    with locked(target) as lock:
        if described["existing"]:
            dataset = source.name
            link(raw / dataset, source)
        else:
            dataset = described["dataset"]
            number, name = dataset[7:10], dataset[11:]
            options = arguments_of(described["options"])
            if described["evaluation"]:
                options += ["--evaluation", described["evaluation"]]
            if (raw / dataset).exists():  # the former attempt ended before it could say that it was done
                options.append("--force")
            run = Commands(target / "logs", nnunet_environment(target, target, study), lock)
            place = ["-d", int(number), "--name", name, "-np", study["processes"]]
            run("mlbseg", "convert", described["converter"], source, *place, *options)
        write_json(target / "converted.json", {"dataset": dataset, "source": str(source)})


def link(place: Path, source: Path) -> None:
    """Let ``place`` be the raw dataset ``source``."""
    if not (source / "dataset.json").is_file() or not source.name.startswith("Dataset"):
        raise InputError(f"{source}: not an nnU-Net raw dataset (DatasetXXX_NAME with a dataset.json)")
    if place.is_symlink():
        place.unlink()
    place.symlink_to(source.resolve(), target_is_directory=True)


def preprocess(study: Study, root: Path, folder: str) -> None:
    """nnU-Net's planning and preprocessing, then the study's own configuration in the plans."""
    from nnunetv2_mlbseg.study.running.configuration import study_configuration

    target, plan = root / folder, study["plan"]
    dataset = read_json(target / "converted.json")["dataset"]
    (target / "nnUNet_preprocessed").mkdir(exist_ok=True)
    with locked(target) as lock:
        run = Commands(target / "logs", nnunet_environment(target, target, study), lock)
        planner = ["-pl", plan["planner"], "-overwrite_plans_name", plan["plans_name"]] if plan["planner"] else []
        processes = ["-npfp", study["processes"], "-np", study["processes"]]
        what = ["-d", int(dataset[7:10]), "-c", plan["base"], *processes, *planner]
        # nnU-Net's planner fails with a 0, which some export for trainings.
        run("nnUNetv2_plan_and_preprocess", *what, nnUNet_n_proc_DA=str(study["processes"]))
        file = target / "nnUNet_preprocessed" / dataset / f"{plan['plans_name']}.json"
        if plan["configuration"] != plan["base"]:
            write_json(file, study_configuration(read_json(file), plan))
        write_json(target / "preprocessed.json", {"plans": str(file.relative_to(target))})


def train(study: Study, root: Path, folder: str) -> None:
    """Train, or go on where a former attempt was stopped; the fold's validation predicts the held-out cases."""
    training = Training(study, root, folder)
    fold = training.fold
    with locked(training.target) as lock, one_gpu(training.device, training.environment) as gpu:
        write_json(training.target / "config.json", training.run["config"])
        training.results.mkdir(exist_ok=True)
        run = Commands(training.target / "logs", training.environment | gpu.variables, lock, *gpu.locks)
        began, resumed = time.monotonic(), False
        if (fold / "checkpoint_final.pth").is_file():
            if not (fold / "validation" / "summary.json").is_file():
                training.train(run, "--val")
        else:
            resumed = (fold / "checkpoint_latest.pth").is_file()
            training.train(run, *(["--c"] if resumed else []))
        seconds = round(time.monotonic() - began, 1)
        done = {
            "run": training.run["name"],
            "seconds_of_last_attempt": seconds,
            "resumed": resumed,
            "device": training.device,
        }
        log = fold / "mlbseg_log.json"  # of this package's trainers
        done |= {"version": __version__, "config": read_json(log)["config"] if log.is_file() else None}
        write_json(training.target / "trained.json", done)


STEPS: dict[str, Callable[[Study, Path, str], None]] = {
    "convert": convert,
    "preprocess": preprocess,
    "train": train,
    "evaluate": evaluate,
    **{f"evaluate_{network}": partial(evaluate, network=network) for network in NETWORKS},
}


def main(arguments: list[str]) -> int:
    """Run a step; say on one line that it began and how it ended."""
    name, description, folder = arguments
    end_on_signals()
    study = read_json(description)
    what = f"{name} {folder.partition('/')[2]}"
    began = time.monotonic()
    report(f"{what}: begins")
    try:
        STEPS[name](study, Path(description).parent, folder)
    except InputError as error:
        report(f"{what}: FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        report(f"{what}: stopped; the next start goes on from here")
        return 130
    report(f"{what}: done in {time.monotonic() - began:.0f} s")
    return 0


def report(text: str) -> None:
    """One line, with the time of day."""
    print(f"[{datetime.now():%H:%M:%S}] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
