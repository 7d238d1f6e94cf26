"""What several labels of a case are worth: three simulated readers, each alone, fused, or as further labels.

``python benchmarks/several_readers.py la FOLDER OUT --evaluation LIST --clean 8`` converts scans as ``mlbseg convert``
does. Reader 1 errs as noise of level L2 does; reader 2 draws all too large (Dice 0.70); reader 3 errs as
level L1. All rows train equally long, on the clean cases and on these labels of the noisy ones:

``one``, ``majority``, ``staple``: those of reader 1, the majority, SimpleITK's STAPLE; ``further``: those of reader 1,
with the others as further labels. ``face_NAME``: the same labels by plain training. A row that is complete is kept.
Dice of the evaluation cases, by nnU-Net's own validation.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

READERS = {
    "reader2": ("--recipe", "over_segmentation", "--level", "0.7", "--seed", "2"),
    "reader3": ("--level", "L1", "--seed", "3"),
}
BASE = 700
ROWS = ("one", "majority", "staple", "further", "face_majority", "face_staple")
TRAINERS = {True: "nnUNetTrainerMLBSegAllLabels", False: "nnUNetTrainerMLBSeg"}
CONFIG = {
    "views": ["flip"],
    "imperfect_batch_size": 8,
    "initial_lr": 0.02,
    "ema_decay": 0.99,
    "val_iterations_per_epoch": 1,
    "verify_data": False,
    "seed": 0,
}
SMALL = ("--patch", "48x48", "--features", "16,32,64", "--batch", 8, "--warmup-epochs", 6, "--epochs", 9)


def majority(labels: Sequence[sitk.Image]) -> sitk.Image:
    """The value that most readers give a voxel, 0 where no value has most votes."""
    return sitk.LabelVoting(list(labels), 0)


def staple(labels: Sequence[sitk.Image]) -> sitk.Image:
    """What simultaneous truth and performance level estimation takes for foreground (Warfield et al. 2004)."""
    return sitk.Cast(sitk.STAPLE(list(labels), 1.0) > 0.5, labels[0].GetPixelID())


FUSED: dict[str, Callable[[Sequence[sitk.Image]], sitk.Image]] = {"majority": majority, "staple": staple}


class Work:
    """The folders of the comparison, and commands run in them."""

    def __init__(self, out: Path, iterations: int = 100):
        self.out, self.iterations = out, iterations
        self.raw = out / "nnUNet_raw"
        names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        self.environment = {**os.environ, **{name: str(out / name) for name in names}, "nnUNet_def_n_proc": "2"}
        for name in names:
            (out / name).mkdir(parents=True, exist_ok=True)

    def run(self, *words: object) -> None:
        """Run a command to its end; what it says goes to ``log.txt``."""
        with (self.out / "log.txt").open("ab") as log:
            log.write(f"\n$ {shlex.join(map(str, words))}\n".encode())
            log.flush()
            subprocess.run([*map(str, words)], env=self.environment, check=True, stdout=log, stderr=log)

    def folder(self, number: int) -> Path:
        """The raw dataset of a number."""
        return next(self.raw.glob(f"Dataset{number}_*"))

    def convert(self, converter: str, source: Path, evaluation: Path, clean: int) -> None:
        """The dataset that reader 1 has labelled, and the labels of the others."""
        if not list(self.raw.glob(f"Dataset{BASE}_*")):
            size = ("--size", "48x48", "--nominal-spacing")
            roles = ("--clean", clean, "--noise-level", "L2", "--seed", 0, "--evaluation", evaluation.resolve())
            self.run("mlbseg", "convert", converter, source, "-d", BASE, *size, *roles)
        true = self.folder(BASE) / "labelsTr_true"
        for reader, options in READERS.items():
            if not (self.out / reader).is_dir():
                self.run("mlbseg", "noise", true, self.out / reader, *options)

    def split(self, number: int, *more: object) -> Path:
        """A dataset of links with the same roles."""
        roles = self.folder(BASE) / "supervision"
        words = []
        for role in ("clean", "noisy"):
            words += [f"--{role}", *json.loads((roles / f"{role}.json").read_text())]
        evaluation = json.loads((self.folder(BASE) / "splits_final.json").read_text())[0]["val"]
        name = self.folder(BASE).name
        self.run("mlbseg", "split", name, "-d", number, *words, "--evaluation", *evaluation, *more)
        return self.folder(number)

    def labelled(self, row: str) -> int:
        """The number of the dataset with the labels of a row, preprocessed; made where it is missing."""
        number = BASE + 1 + ("one", "majority", "staple", "further").index(row)
        done = self.out / f"{row}.prepared"
        if not done.is_file():
            further = [word for reader in READERS for word in ("--further-labels", reader, self.out / reader)]
            folder = self.split(number, "--force", *(further if row == "further" else ()))
            if row in FUSED:
                self.fuse(folder, FUSED[row])
            self.run("nnUNetv2_plan_and_preprocess", "-d", number, "-c", "2d", "-np", 2)
            length = ("--iterations", self.iterations)
            self.run("mlbseg", "plan", number, *SMALL, *length, "--config", json.dumps(CONFIG), "--force")
            done.touch()
        return number

    def fuse(self, folder: Path, how: Callable[[Sequence[sitk.Image]], sitk.Image]) -> None:
        """Put fused labels in the place of those of reader 1."""
        for case in json.loads((folder / "supervision" / "noisy.json").read_text()):
            own = folder / "labelsTr" / f"{case}.nii.gz"
            labels = [sitk.ReadImage(str(path)) for path in (own, *(self.out / one / own.name for one in READERS))]
            for label in labels[1:]:
                label.CopyInformation(labels[0])
            own.unlink()  # a link to the file of reader 1, which stays
            sitk.WriteImage(how(labels), str(own))

    def dice(self, row: str) -> list[float]:
        """The Dice of every evaluation case, after training a row if that is not done."""
        number, trainer = self.labelled(row.removeprefix("face_")), TRAINERS[row.startswith("face_")]
        name = self.folder(number).name
        fold = self.out / "nnUNet_results" / name / f"{trainer}__nnUNetPlansSmall__2d" / "fold_0"
        summary = fold / "validation" / "summary.json"
        if not summary.is_file():
            on = ("-tr", trainer, "-p", "nnUNetPlansSmall", "-device", "cpu")
            self.run("nnUNetv2_train", number, "2d", 0, *on, *(["--c"] if fold.is_dir() else []))
        cases = json.loads(summary.read_text())["metric_per_case"]
        return [case["metrics"]["1"]["Dice"] for case in cases]


def main() -> None:
    """Train what is missing, print a line for every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("converter", choices=("la", "promise12"))
    parser.add_argument("source", type=Path, metavar="FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--evaluation", type=Path, required=True, metavar="LIST")
    parser.add_argument("--clean", type=int, default=8, metavar="N", help="clean cases (default: 8)")
    parser.add_argument("--iterations", type=int, default=100, metavar="N", help="in each of 15 epochs (default: 100)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    args = parser.parse_args()
    work = Work(args.out.resolve(), args.iterations)
    work.convert(args.converter, args.source.resolve(), args.evaluation, args.clean)
    for row in args.rows:
        print(f"{row:15} Dice {100 * np.mean(work.dice(row)):.1f}", flush=True)


if __name__ == "__main__":
    main()
