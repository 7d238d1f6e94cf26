"""A raw dataset small enough to train on in seconds, and the commands a user would type on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from dataset_conversion.supervision_files import Supervision, write_splits, write_supervision

DATASET = "Dataset900_Tiny"
SUPERVISION = Supervision(clean=("c0", "c1"), noisy=("n0", "n1"), unlabeled=("u0", "u1"))
VALIDATION = ("v0",)
IGNORE_LABEL = 2
# A configuration for the plans file: a network of three stages that a CPU trains in milliseconds.
TINY = {
    "inherits_from": "2d",
    "batch_size": 4,
    "patch_size": [32, 32],
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": "torch.nn.modules.conv.Conv2d",
            "kernel_sizes": [[3, 3], [3, 3], [3, 3]],
            "strides": [[1, 1], [2, 2], [2, 2]],
            "n_conv_per_stage": [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    },
}
SHORT = {"warmup_epochs": 2, "epochs": 2, "iterations_per_epoch": 3, "val_iterations_per_epoch": 1, "seed": 1}


def write_raw_dataset(raw: Path, classes: int = 1) -> Path:
    """Write seven small scans of bright discs that drift from slice to slice; return the dataset folder."""
    folder = raw / DATASET
    cases = [*SUPERVISION.roles(), *VALIDATION]
    labels = {"background": 0, **{f"disc_{k}": k for k in range(1, classes + 1)}, "ignore": classes + 1}
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number, case in enumerate(cases):
        image, label = _scan(np.random.default_rng(number), classes)
        if SUPERVISION.role_of(case) == "unlabeled":
            label[:] = classes + 1
        _write(image, folder / "imagesTr" / f"{case}_0000.nii.gz")
        _write(label, folder / "labelsTr" / f"{case}.nii.gz")
    description = {
        "channel_names": {"0": "MRI"},
        "labels": labels,
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    write_supervision(folder, SUPERVISION)
    write_splits(folder, [{"train": list(SUPERVISION.roles()), "val": list(VALIDATION)}])
    return folder


def add_configuration(preprocessed: Path, name: str = "2d_tiny", **mlbseg) -> None:
    """Add a small configuration with MLB-Seg settings to the plans of the dataset."""
    path = preprocessed / DATASET / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    plans["configurations"][name] = {**TINY, "mlbseg": {**SHORT, **mlbseg}}
    path.write_text(json.dumps(plans))


def _scan(rng: np.random.Generator, classes: int) -> tuple[np.ndarray, np.ndarray]:
    z, y, x = np.mgrid[0:5, 0:32, 0:32]
    label = np.zeros(z.shape, np.uint8)
    for k in range(1, classes + 1):
        centre = rng.uniform(10, 22, 2) + rng.uniform(-1, 1, 2) * z[..., None]
        label[(y - centre[..., 0]) ** 2 + (x - centre[..., 1]) ** 2 < rng.uniform(4, 7) ** 2] = k
    image = rng.normal(0, 0.3, z.shape) + 1.5 * label + 5
    return image.astype(np.float32), label


def _write(array: np.ndarray, path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.0, 3.0))
    image.SetOrigin((-10.0, 20.0, 5.0))
    sitk.WriteImage(image, str(path))
