"""A raw dataset whose labels are regions that hold each other, made imperfect by the project's own command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from training_support import LENGTH, Workspace, add_configuration

DATASET = "Dataset902_Regions"
SOURCE = "Dataset042_Clean"
LABELS = {"background": 0, "disc": [1, 2], "core": 2}
ORDER = [1, 2]


def write_clean_dataset(
    folder: Path, cases: int = 8, shape: tuple[int, int, int] = (4, 32, 32), first: int = 0
) -> None:
    """Scans of a bright disc with a brighter core, right labels; cases are numbered from ``first``."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number in range(first, first + cases):
        rng = np.random.default_rng(number)
        z, y, x = np.indices(shape)
        distance = np.hypot(y - rng.uniform(13, 19) - 2 * z / shape[0], x - rng.uniform(13, 19))
        label = ((distance < 9).astype(np.uint8) + (distance < 5)).astype(np.uint8)
        image = (1.5 * label + rng.normal(0, 0.3, label.shape)).astype(np.float32)
        for array, place in ((image, f"imagesTr/p{number}_0000.nii.gz"), (label, f"labelsTr/p{number}.nii.gz")):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((1.0, 1.0, 3.0))
            sitk.WriteImage(volume, str(folder / place))
    description = {"channel_names": {"0": "MRI"}, "labels": LABELS, "regions_class_order": ORDER}
    (folder / "dataset.json").write_text(json.dumps({**description, "numTraining": cases, "file_ending": ".nii.gz"}))


def prepared_regions(root: Path) -> Workspace:
    """Clean, noisy, unlabeled and held-out cases by ``mlbseg convert``, preprocessed by nnU-Net's command."""
    workspace = Workspace(root, DATASET)
    write_clean_dataset(root / "raw" / SOURCE)
    roles = ("--clean", 3, "--noisy-ratio", 0.5, "--noise-level", 0.75, "--seed", 1, "-np", 1)
    done = workspace.command("mlbseg", "convert", "nnunet", 42, "-d", 902, "--name", "Regions", *roles)
    assert done.returncode == 0, done.stderr[-3000:]
    done = workspace.command("nnUNetv2_plan_and_preprocess", "-d", 902, "-c", "2d", "-npfp", 1, "-np", 1)
    assert done.returncode == 0, done.stderr[-3000:]
    settings = {**LENGTH, "epochs": 3, "iterations_per_epoch": 15, "ema_decay": 0.9, "seed": 1, "cpu_bfloat16": False}
    add_configuration(workspace.preprocessed, mlbseg=settings)
    return workspace
