"""One step of a study, as Snakemake starts it: the commands that a user would type, and a file that says it is done.

``python -m nnunetv2_mlbseg.study.step convert|preprocess|train|evaluate|evaluate_NETWORK STUDY.json FOLDER``
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg import __version__
from nnunetv2_mlbseg.study.commands import Commands, end_on_signals, locked, nnunet_environment
from nnunetv2_mlbseg.study.converter_options import arguments_of
from nnunetv2_mlbseg.study.description import NETWORKS
from noise_synthesis.errors import InputError
from noise_synthesis.files import read_json, write_json

FOLD = 0
Study = Mapping[str, Any]


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
            run = Commands(target, nnunet_environment(target, target, study), lock)
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
    from nnunetv2_mlbseg.study.configuration import study_configuration

    target, plan = root / folder, study["plan"]
    dataset = read_json(target / "converted.json")["dataset"]
    (target / "nnUNet_preprocessed").mkdir(exist_ok=True)
    with locked(target) as lock:
        run = Commands(target, nnunet_environment(target, target, study), lock)
        planner = ["-pl", plan["planner"], "-overwrite_plans_name", plan["plans_name"]] if plan["planner"] else []
        processes = ["-npfp", study["processes"], "-np", study["processes"]]
        run("nnUNetv2_plan_and_preprocess", "-d", int(dataset[7:10]), "-c", plan["base"], *processes, *planner)
        file = target / "nnUNet_preprocessed" / dataset / f"{plan['plans_name']}.json"
        if plan["configuration"] != plan["base"]:
            write_json(file, study_configuration(read_json(file), plan))
        write_json(target / "preprocessed.json", {"plans": str(file.relative_to(target))})


class Training:
    """The folders and commands of a run."""

    def __init__(self, study: Study, root: Path, folder: str):
        self.run = study["runs"][folder]
        self.target, self.data = root / folder, root / self.run["data"]
        self.dataset = read_json(self.data / "converted.json")["dataset"]
        self.raw = self.data / "nnUNet_raw" / self.dataset
        plan, self.device = study["plan"], study["device"]
        self.plans_name, self.configuration = plan["plans_name"], plan["configuration"]
        self.results = self.target / "nnUNet_results"
        self.model = self.results / self.dataset / f"{self.run['trainer']}__{self.plans_name}__{self.configuration}"
        self.fold = self.model / f"fold_{FOLD}"
        self.environment = nnunet_environment(self.data, self.results, study)
        self.environment |= {"nnUNet_def_n_proc": str(study["threads"]), **study["environment"]}

    def train(self, run: Commands, *options: str) -> None:
        """``nnUNetv2_train``; on the CPU with augmentation in the training process."""
        what = [int(self.dataset[7:10]), self.configuration, FOLD, "-tr", self.run["trainer"], "-p", self.plans_name]
        more = {"MLBSEG_CONFIG": str(self.target / "config.json")}
        if self.device == "cpu":
            more["nnUNet_n_proc_DA"] = "0"
        run("nnUNetv2_train", *what, "-device", self.device, *options, **more)

    def held_out(self) -> list[str]:
        """The fold's validation cases."""
        preprocessed = self.data / "nnUNet_preprocessed" / self.dataset
        place = next(folder for folder in (self.raw, preprocessed) if (folder / "splits_final.json").is_file())
        cases: list[str] = read_json(place / "splits_final.json")[FOLD]["val"]
        return cases


def train(study: Study, root: Path, folder: str) -> None:
    """Train, or go on where a former attempt was stopped; the fold's validation predicts the held-out cases."""
    training = Training(study, root, folder)
    fold = training.fold
    with locked(training.target) as lock:
        write_json(training.target / "config.json", training.run["config"])
        training.results.mkdir(exist_ok=True)
        run = Commands(training.target, training.environment, lock)
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


def evaluate(study: Study, root: Path, folder: str, network: str | None = None) -> None:
    """Scores on the held-out cases of the final checkpoint, of one of its networks, or of the one after the warm-up.

    The fold's validation has predicted these cases with the final checkpoint already, unless they are test cases.
    """
    from nnunetv2_mlbseg.evaluation import label_files

    training = Training(study, root, folder)
    target = training.target
    test = study["data"][training.run["data"]]["test"]
    images, references = (training.raw / (name + ("Ts" if test else "Tr")) for name in ("images", "labels"))
    with locked(target) as lock:
        run = Commands(target, training.environment, lock)
        names = list(label_files(references)) if test else training.held_out()
        write_json(target / "held_out.json", sorted(names))
        predictions = training.fold / "validation"
        if test or network:
            predictions = target / "predictions" / (network or "final")
            predict(run, training, images, names, predictions, network)
        score(run, predictions, references, target, f"scores_{network}" if network else "scores")


def predict(run: Commands, training: Training, images: Path, names: list[str], out: Path, network: str | None) -> None:
    """``nnUNetv2_predict`` in one process, with the network that ``evaluate`` says."""
    inputs = out.with_name(f"{out.name}_images")
    inputs.mkdir(parents=True, exist_ok=True)
    for path in images.iterdir():
        if path.name.rpartition("_0")[0] in names and not (inputs / path.name).exists():
            (inputs / path.name).symlink_to(path.resolve())
    model = ["-d", int(training.dataset[7:10]), "-c", training.configuration, "-p", training.plans_name, "-f", FOLD]
    how = ["-i", inputs, "-o", out, *model, "-device", training.device, "-npp", 0, "-nps", 0]
    if network in ("student", "teacher"):
        results = training.target / "exported" / network
        stock = results / training.dataset / f"nnUNetTrainer__{training.plans_name}__{training.configuration}"
        run("mlbseg", "export", training.model, stock, "--network", network, "--force")
        run("nnUNetv2_predict", *how, nnUNet_results=str(results))
    else:
        checkpoint = "checkpoint_warmup.pth" if network == "warmup" else "checkpoint_final.pth"
        run("nnUNetv2_predict", *how, "-tr", training.run["trainer"], "-chk", checkpoint)


def score(run: Commands, predictions: Path, references: Path, target: Path, name: str) -> None:
    """``mlbseg evaluate`` into NAME.json and NAME.csv."""
    cases, files = target / "held_out.json", ["--json", target / f"{name}.json", "--csv", target / f"{name}.csv"]
    run("mlbseg", "evaluate", predictions, references, "--cases", cases, *files, "--force")


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
