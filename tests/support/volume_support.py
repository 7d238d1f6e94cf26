"""A raw dataset of volumes for 3D configurations, with all that is awkward about them, in four channels.

One noisy scan is smaller than a patch, one unlabeled scan is a single slice, and the slices of one clean scan are three
times as far apart as those of the others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from training_support import LENGTH, SUPERVISION, VALIDATION, Workspace

from dataset_conversion.supervision.files import write_splits, write_supervision

DATASET = "Dataset901_Volumes"
CHANNELS = 4
SHAPE = (20, 32, 32)
SHAPES = {"n1": (10, 20, 20), "u1": (1, 32, 32), "c1": (8, 32, 32)}
SPACINGS_MM = {"c1": (1.0, 1.0, 3.0)}
ISO, FLAT = (16, 16, 16), (4, 16, 16)
"""Patches; slices of the second count as far apart, as 16 is more than three times 4."""
KERNELS = {ISO: [[3] * 3] * 3, FLAT: [[1, 3, 3], [3, 3, 3], [3, 3, 3]]}
STRIDES = {ISO: [[1] * 3, [2] * 3, [2] * 3], FLAT: [[1] * 3, [1, 2, 2], [2, 2, 2]]}
SETTINGS: dict[str, Any] = {**LENGTH, "iterations_per_epoch": 12, "ema_decay": 0.9, "seed": 1, "cpu_bfloat16": False}
"""Enough to find the ball."""


def tiny(patch: tuple[int, int, int], *, residual: bool = False) -> dict[str, Any]:
    """A 3D configuration that a CPU trains in moments, with a batch of two as nnU-Net plans it.

    ``residual``: a network as in nnU-Net's ResEnc plans.
    """
    arguments = {
        "n_stages": 3,
        "features_per_stage": [4, 6, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": KERNELS[patch],
        "strides": STRIDES[patch],
        "n_conv_per_stage": [1, 1, 1],
        "n_conv_per_stage_decoder": [1, 1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    name = "PlainConvUNet"
    if residual:
        name, arguments["n_blocks_per_stage"] = "ResidualEncoderUNet", arguments.pop("n_conv_per_stage")
    architecture = {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
        "arch_kwargs": arguments,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    plan = {"inherits_from": "3d_fullres", "batch_size": 2, "patch_size": list(patch), "architecture": architecture}
    return {**plan, "mlbseg": SETTINGS}


def write_volumes(raw: Path) -> Path:
    """Write seven scans of a bright ball; noisy labels are too large, unlabeled ones empty. Return the folder."""
    folder = raw / DATASET
    cases = [*SUPERVISION.roles(), *VALIDATION]
    for name in ("imagesTr", "labelsTr", "labelsTr_true"):
        (folder / name).mkdir(parents=True)
    for number, case in enumerate(cases):
        _write_case(folder, case, np.random.default_rng(number))
    description = {
        "channel_names": {str(channel): f"MRI_{channel}" for channel in range(CHANNELS)},
        "labels": {"background": 0, "ball": 1, "ignore": 2},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    write_supervision(folder, SUPERVISION)
    write_splits(folder, [{"train": list(SUPERVISION.roles()), "val": list(VALIDATION)}])
    return folder


def _write_case(folder: Path, case: str, rng: np.random.Generator) -> None:
    shape, spacing_mm = SHAPES.get(case, SHAPE), SPACINGS_MM.get(case, (1.0, 1.0, 1.0))
    middle = [(side - 1) / 2 for side in shape] + rng.uniform(-2, 2, 3) * (np.array(shape) > 1)
    offsets_mm = (np.indices(shape).T - middle) * spacing_mm[::-1]
    distance_mm, radius_mm = np.linalg.norm(offsets_mm, axis=-1).T, rng.uniform(5, 7)
    truth = (distance_mm < radius_mm).astype(np.uint8)
    for channel in range(CHANNELS):
        image = rng.normal(0, 0.5, shape) + (1.5 - 0.3 * channel) * truth + 3
        _write(image.astype(np.float32), spacing_mm, folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz")
    role = SUPERVISION.role_of(case) if case not in VALIDATION else "clean"
    given = {
        "clean": truth,
        "noisy": ndimage.binary_dilation(truth, iterations=2).astype(np.uint8),
        "unlabeled": np.full_like(truth, 2),
    }[role]
    _write(given, spacing_mm, folder / "labelsTr" / f"{case}.nii.gz")
    _write(truth, spacing_mm, folder / "labelsTr_true" / f"{case}.nii.gz")


def _write(array: np.ndarray, spacing_mm: tuple[float, float, float], path: Path) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm)
    sitk.WriteImage(image, str(path))


def prepared_volumes(root: Path) -> Workspace:
    """The dataset below ``root``, preprocessed by nnU-Net's command, with ``3d_iso`` and ``3d_flat``."""
    workspace = Workspace(root, DATASET)
    write_volumes(root / "raw")
    done = workspace.command("nnUNetv2_plan_and_preprocess", "-d", 901, "-c", "3d_fullres", "-npfp", 1, "-np", 1)
    assert done.returncode == 0, done.stderr[-3000:]
    path = workspace.preprocessed / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    plans["configurations"] |= {"3d_iso": tiny(ISO), "3d_flat": tiny(FLAT, residual=True)}
    path.write_text(json.dumps(plans))
    return workspace
