"""The demonstration from synthetic scans to a table and a picture, by the commands that a user types."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.runtime.commands import CommandRunner, plain_line
from nnunetv2_mlbseg.runtime.text_table import aligned
from noise_synthesis.safe_io.files import read_json, write_json

DATASET_ID, DATASET = 999, "Dataset999_Demo"
CONFIGURATION, PLANS = "2d", "nnUNetPlansSmall"
TRAINER = "nnUNetTrainerMLBSeg"
SCANS, CLEAN, HELD_OUT = 29, 3, 6  # the other 20 training scans are half noisy, half unlabeled
SPACING_MM = (0.625, 0.625, 2.5)
FEATURES_PER_STAGE = (8, 16, 32, 64)
BATCH_SIZE = 8

# What is small here is small for the sake of time. The method itself is the preset's.
TRAINING: dict[str, Any] = {
    "warmup_epochs": 10,
    "epochs": 12,
    "iterations_per_epoch": 30,
    "val_iterations_per_epoch": 2,
    "clean_batch_size": 6,
    "imperfect_batch_size": 4,
    "initial_lr": 0.05,
    "momentum": 0.9,
    "ema_decay": 0.99,  # the default averages over more iterations than there are here
    "inference_network": "teacher",
    "seed": 0,
}
NETWORKS = {"warmup": "after warm-up", "student": "MLB-Seg student", "teacher": "MLB-Seg teacher"}
Results = dict[str, dict[str, float | None]]


def run_workflow(out: Path, picture: Path, seed: int = 0) -> Results:
    """Run everything inside ``out``; write the picture; print and return the table's numbers by network."""
    environment = nnunet_environment(out)
    run = CommandRunner(out / "logs", environment, hide=out)
    raw = out / "nnUNet_raw" / DATASET
    make_scans(run, out, seed)
    convert(run, out, seed)
    preprocess(run, out)
    train(run)
    predict(run, out, raw)
    results = evaluate(run, out, raw)
    run.headline("Draw the picture")
    draw(out, raw, picture)
    report(run, raw, results)
    write_json(out / "results.json", results)
    return results


def nnunet_environment(out: Path) -> dict[str, str]:
    """nnU-Net's three folders inside ``out``; the user's own configuration of the method is left out."""
    environment = {key: value for key, value in os.environ.items() if key != "MLBSEG_CONFIG"}
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (out / variable).mkdir()
        environment[variable] = str(out / variable)
    # Threads that spin while they wait make a training several times slower where the cores have other work, too.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Each worker process takes seconds to start and there is little for it to do.
    return environment | {"nnUNet_def_n_proc": "2", "PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}


def make_scans(run: CommandRunner, out: Path, seed: int) -> None:
    """Synthetic scans in the LA layout, and the list of those held out."""
    from nnunetv2_mlbseg.demo.phantom import write_scan

    run.headline(f"Make {SCANS} synthetic scans ({CLEAN} of them will be clean, {HELD_OUT} held out)")
    names = [f"scan_{number:02d}" for number in range(SCANS)]
    for number, name in enumerate(names):
        write_scan(out / "scans" / name, seed, number)
    write_json(out / "held_out.json", names[-HELD_OUT:])


def convert(run: CommandRunner, out: Path, seed: int) -> None:
    """From the LA layout to a raw dataset with clean, noisy and unlabeled cases."""
    run.headline("Convert them to an nnU-Net dataset with imperfect labels")
    roles = ["--clean", CLEAN, "--noisy-ratio", 0.5, "--noise-level", "L2", "--evaluation", out / "held_out.json"]
    place = ["-d", DATASET_ID, "--name", "Demo", "--seed", seed, "--spacing", *SPACING_MM, "-np", 2]
    run("mlbseg", "convert", "la", out / "scans", *place, *roles)


def preprocess(run: CommandRunner, out: Path) -> None:
    """nnU-Net's planning and preprocessing; then plans for a smaller network and a shorter training."""
    run.headline("Plan and preprocess")
    arguments = ["-d", DATASET_ID, "-c", CONFIGURATION, "-npfp", 2, "-np", 2]
    run("nnUNetv2_plan_and_preprocess", *arguments, nnUNet_n_proc_DA="2")  # the planner fails with a user's own 0
    write_json(out / "settings.json", TRAINING)
    size = ["--features", ",".join(map(str, FEATURES_PER_STAGE)), "--batch", BATCH_SIZE]
    run("mlbseg", "plan", DATASET_ID, "--name", PLANS, *size, "--config", out / "settings.json")


def train(run: CommandRunner) -> None:
    """All stages of the method in one command."""
    run.headline("Train: warm-up on the clean scans, labels for the unlabeled ones, bootstrapping")
    # In-process augmentation: worker processes would cost more than they bring here.
    arguments = [DATASET_ID, CONFIGURATION, 0, "-tr", TRAINER, "-p", PLANS, "-device", "cpu"]
    run("nnUNetv2_train", *arguments, show=TrainingProgress(), nnUNet_n_proc_DA="0")


class TrainingProgress:
    """Turns lines of the training's log into its epoch and stage, as text."""

    def __init__(self) -> None:
        self.epochs = TRAINING["warmup_epochs"] + TRAINING["epochs"]
        self.epoch = 0

    def __call__(self, line: str) -> str:
        """What to show of a line; an empty string for nothing."""
        text = plain_line(line)
        if match := re.fullmatch(r"Epoch (\d+)", text):
            self.epoch = int(match[1]) + 1
        if match := re.match(r"Stage: ([^,]+)", text):
            return f"epoch {self.epoch} of {self.epochs}: {match[1]}"
        return text if text.startswith(("generated label", "predicting")) else ""


def predict(run: CommandRunner, out: Path, raw: Path) -> None:
    """Held-out scans, and the noisy training scans of the picture, by all three networks."""
    run.headline("Predict the held-out scans: network after warm-up, teacher, student")
    images = out / "images"
    images.mkdir()
    for case in [*read_json(out / "held_out.json"), *read_json(raw / "supervision" / "noisy.json")]:
        shutil.copy(raw / "imagesTr" / f"{case}_0000.nii.gz", images)
    sequential = ["-npp", 0, "-nps", 0, "-device", "cpu"]
    chosen = ["-d", DATASET_ID, "-c", CONFIGURATION, "-f", 0, "-p", PLANS]
    for name, checkpoint in (("warmup", "checkpoint_warmup.pth"), ("teacher", "checkpoint_final.pth")):
        model = [*chosen, "-tr", TRAINER, "-chk", checkpoint]
        run("nnUNetv2_predict", "-i", images, "-o", out / "predictions" / name, *model, *sequential)
    models = out / "nnUNet_results" / DATASET
    stock = models / f"nnUNetTrainer__{PLANS}__{CONFIGURATION}"
    run("mlbseg", "export", models / f"{TRAINER}__{PLANS}__{CONFIGURATION}", stock, "--network", "student")
    student = [*chosen, *sequential]  # the stock trainer's, and so without -tr
    run("nnUNetv2_predict", "-i", images, "-o", out / "predictions" / "student", *student)


def evaluate(run: CommandRunner, out: Path, raw: Path) -> Results:
    """Mean scores of each network on the held-out scans."""
    run.headline("Evaluate on the held-out scans")
    results = {}
    for name in NETWORKS:
        scores = out / f"scores_{name}.json"
        files = ["--cases", out / "held_out.json", "--json", scores]
        run("mlbseg", "evaluate", out / "predictions" / name, raw / "labelsTr", *files)
        results[name] = read_json(scores)["mean"][0]
    return results


def draw(out: Path, raw: Path, picture: Path) -> None:
    """The picture: noisy training scans above, held-out scans below."""
    from nnunetv2_mlbseg.demo.picture import draw_picture

    noisy, held_out = read_json(raw / "supervision" / "noisy.json"), read_json(out / "held_out.json")
    draw_picture(raw, out / "predictions", noisy, held_out, picture)


def report(run: CommandRunner, raw: Path, results: Results) -> None:
    """Print the table."""
    noise = read_json(raw / "supervision" / "provenance.json")["noise"]["mean_dice"]
    roles = {role: len(read_json(raw / "supervision" / f"{role}.json")) for role in ("clean", "noisy", "unlabeled")}
    run.headline("Done")
    print(
        f"\nTrained on {roles['clean']} clean, {roles['noisy']} noisy (Dice of their labels {100 * noise:.1f} %) and "
        f"{roles['unlabeled']} unlabeled scans;\nmeans over {HELD_OUT} held-out scans:\n"
    )
    print("\n".join(table(results)))


def table(results: Results) -> list[str]:
    """One line per network; a measure that no scan has is a dash."""
    columns = {"Dice %": "dice", "Jaccard %": "jaccard", "HD95 mm": "hd95_mm", "ASD mm": "asd_mm"}
    lines = [["network", *columns]]
    for name, label in NETWORKS.items():
        scores = [(title, results[name][key]) for title, key in columns.items()]
        lines.append(
            [
                label,
                *("-" if value is None else f"{100 * value if '%' in title else value:.2f}" for title, value in scores),
            ]
        )
    return aligned(lines)
