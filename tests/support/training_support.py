"""A raw dataset small enough to train on in seconds, and the commands a user would type on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from dataset_conversion.supervision.files import Supervision, write_splits, write_supervision

DATASET = "Dataset900_Tiny"
TRAINER = "nnUNetTrainerMLBSeg"
SUPERVISION = Supervision(clean=("c0", "c1"), noisy=("n0", "n1"), unlabeled=("u0", "u1"))
VALIDATION = ("v0",)
IGNORE_LABEL = 2
# What nnU-Net 2.8.1 writes into a checkpoint; its commands read these names.
STOCK_FIELDS = {
    "network_weights",
    "optimizer_state",
    "grad_scaler_state",
    "logging",
    "_best_ema",
    "current_epoch",
    "init_args",
    "trainer_name",
    "inference_allowed_mirroring_axes",
}
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
LENGTH = {"warmup_epochs": 2, "epochs": 2, "iterations_per_epoch": 3, "val_iterations_per_epoch": 1}
SHORT = {**LENGTH, "seed": 1, "cpu_bfloat16": False}


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


def add_configuration(preprocessed_dataset: Path, **changes) -> None:
    """Add the configuration ``2d_tiny`` with MLB-Seg settings to the plans of a preprocessed dataset."""
    path = preprocessed_dataset / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    plans["configurations"]["2d_tiny"] = {**TINY, "mlbseg": SHORT, **changes}
    path.write_text(json.dumps(plans))


class Workspace:
    """nnU-Net's three folders below ``root``, one dataset in them, and commands run there as a user types them."""

    def __init__(self, root: Path, dataset: str = DATASET):
        self.root, self.dataset = root, dataset
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", "nnUNet_def_n_proc": "1", "PYTHONUNBUFFERED": "1"}
        self.env.pop("MLBSEG_CONFIG", None)
        for name in ("raw", "preprocessed", "results"):
            (root / name).mkdir(parents=True, exist_ok=True)
            self.env[f"nnUNet_{name}"] = str(root / name)

    @classmethod
    def prepared(cls, root: Path, **changes) -> Workspace:
        """The tiny dataset below ``root``, preprocessed by nnU-Net's command, with the configuration ``2d_tiny``.

        Args:
            changes: For :func:`add_configuration`.
        """
        workspace = cls(root)
        write_raw_dataset(workspace.root / "raw")
        workspace.plan_and_preprocess()
        add_configuration(workspace.preprocessed, **changes)
        return workspace

    @property
    def raw(self) -> Path:
        return self.root / "raw" / self.dataset

    @property
    def preprocessed(self) -> Path:
        return self.root / "preprocessed" / self.dataset

    def fold_folder(self, configuration: str = "2d_tiny", fold: str = "0", trainer: str = TRAINER) -> Path:
        return self.root / "results" / self.dataset / f"{trainer}__nnUNetPlans__{configuration}" / f"fold_{fold}"

    def arguments(self, configuration: str = "2d_tiny", fold: int = 0) -> tuple[dict, str, int, dict, torch.device]:
        """What a trainer is made of, as nnUNetv2_train hands it over."""
        plans = json.loads((self.preprocessed / "nnUNetPlans.json").read_text())
        dataset_json = json.loads((self.preprocessed / "dataset.json").read_text())
        return {**plans, "continue_training": False}, configuration, fold, dataset_json, torch.device("cpu")

    def predict(self, out: Path, case: str = "v0", trainer: str = TRAINER, **settings: str) -> np.ndarray:
        """nnU-Net's own command on a case; the label as it wrote it."""
        images = out / "images"
        images.mkdir(parents=True)
        (images / f"{case}_0000.nii.gz").symlink_to(self.raw / "imagesTr" / f"{case}_0000.nii.gz")
        where = ("-d", int(self.dataset[7:10]), "-i", images, "-o", out, "-c", "2d_tiny", "-f", 0, "-tr", trainer)
        done = self.command("nnUNetv2_predict", *where, "-device", "cpu", "-npp", 1, "-nps", 1, **settings)
        assert done.returncode == 0, done.stderr[-3000:]
        return sitk.GetArrayFromImage(sitk.ReadImage(str(out / f"{case}.nii.gz")))

    def command(self, name: str, *args: object, **settings: str) -> subprocess.CompletedProcess[str]:
        script = Path(sys.executable).parent / name
        env = {**self.env, **settings}
        return subprocess.run([str(script), *map(str, args)], env=env, capture_output=True, text=True, timeout=600)

    def plan_and_preprocess(self) -> None:
        """nnU-Net's own command on the tiny dataset, in one process."""
        done = self.command(
            "nnUNetv2_plan_and_preprocess", "-d", int(self.dataset[7:10]), "-c", "2d", "-npfp", 1, "-np", 1
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def train(self, *args: object, configuration: str = "2d_tiny", fold: str = "0", trainer: str = TRAINER, **settings):
        settings = {"nnUNet_n_proc_DA": "0", **settings}
        return self.command(
            "nnUNetv2_train",
            int(self.dataset[7:10]),
            configuration,
            fold,
            "-tr",
            trainer,
            "-device",
            "cpu",
            *args,
            **settings,
        )

    def kill_training(self, words: str, nth: int, configuration: str = "2d_tiny") -> None:
        """Start a training and SIGKILL it as soon as ``words`` appear in its output for the ``nth`` time."""
        script, dataset = Path(sys.executable).parent / "nnUNetv2_train", str(int(self.dataset[7:10]))
        command = [str(script), dataset, configuration, "0", "-tr", TRAINER, "-device", "cpu"]
        env = {**self.env, "nnUNet_n_proc_DA": "0"}
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            seen = 0
            for line in process.stdout:
                seen += words in line
                if seen == nth:
                    process.send_signal(signal.SIGKILL)
                    break
        assert process.returncode == -signal.SIGKILL


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
