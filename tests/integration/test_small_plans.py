"""From a planned dataset to predictions of a small network, by ``mlbseg plan`` and the very commands that it prints."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest
import SimpleITK as sitk
from training_support import Workspace, write_raw_dataset

PLANS = "nnUNetPlansSmall"


@pytest.mark.integration
def test_the_commands_that_it_prints_train_and_predict_on_the_cpu(tmp_path):
    space = Workspace(tmp_path)
    write_raw_dataset(tmp_path / "raw")
    images, out = tmp_path / "images", tmp_path / "predictions"
    images.mkdir()
    shutil.copy(space.raw / "imagesTr" / "v0_0000.nii.gz", images)

    def typed(line: str, **variables: str) -> str:
        name, *arguments = shlex.split(line)
        done = space.command(name, *arguments, **variables)
        assert done.returncode == 0, (line, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout

    typed("nnUNetv2_extract_fingerprint -d 900 -np 1")
    typed("nnUNetv2_plan_experiment -d 900")
    planned = (space.preprocessed / "nnUNetPlans.json").read_bytes()
    size = "--patch 32x32 --features 4,8,8 --batch 4"
    schedule = """--warmup-epochs 1 --epochs 1 --iterations 2 --config '{"val_iterations_per_epoch": 1}'"""
    commands = typed(f"mlbseg plan 900 {size} {schedule}").partition("Next:\n")[2].splitlines()
    assert [line.split()[0] for line in commands] == ["nnUNetv2_preprocess", "nnUNetv2_train", "nnUNetv2_predict"]
    typed(commands[0])
    typed(commands[1], nnUNet_n_proc_DA="0")
    typed(commands[2].replace(" IN ", f" {images} ").replace(" OUT ", f" {out} "), nnUNet_n_proc_DA="0")

    assert (space.preprocessed / "nnUNetPlans.json").read_bytes() == planned
    fold = tmp_path / "results" / space.dataset / f"nnUNetTrainerMLBSeg__{PLANS}__2d" / "fold_0"
    log = json.loads((fold / "mlbseg_log.json").read_text())
    chosen = {"warmup_epochs": 1, "epochs": 1, "iterations_per_epoch": 2, "imperfect_batch_size": 2}
    assert {key: log["config"][key] for key in chosen} == chosen
    image, label = (sitk.ReadImage(str(path)) for path in (images / "v0_0000.nii.gz", out / "v0.nii.gz"))
    assert image.GetSize() == label.GetSize() and image.GetSpacing() == label.GetSpacing()
