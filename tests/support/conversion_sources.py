"""Small sources in the layouts the converters read, made of a ball with texture, and helpers to look at the results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import SimpleITK as sitk

# A rotation by 30 degrees about z and an origin off the grid: nothing that a lucky default would reproduce.
ORIGIN = (-31.5, 12.25, 7.0)
DIRECTION = (0.8660254037844386, -0.5, 0.0, 0.5, 0.8660254037844386, 0.0, 0.0, 0.0, 1.0)


def ball(shape: Sequence[int], seed: int = 0, radius: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its label, axes as in ``shape``; the seed moves the ball and draws the texture."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0.4, 0.6, len(shape))
    axes = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in shape], indexing="ij")
    distance = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)))
    label = (distance < radius + rng.uniform(-0.05, 0.05)).astype(np.uint8)
    image = 100 * label + rng.normal(60, 10, shape)
    return image.clip(0, 255), label


def make_h5(
    folder: Path, name: str, shape: Sequence[int] = (24, 20, 6), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Write a UA-MT case; arrays are (x, y, z)."""
    image, label = ball(shape, seed)
    (folder / name).mkdir(parents=True)
    with h5py.File(folder / name / "mri_norm2.h5", "w") as file:
        file["image"], file["label"] = image.astype(np.float32), label
    return image.astype(np.float32), label


def to_image(array_zyx: np.ndarray, spacing: Sequence[float]) -> sitk.Image:
    """Return an image with the odd origin and direction of this module."""
    image = sitk.GetImageFromArray(array_zyx)
    image.SetSpacing(list(spacing))
    image.SetOrigin(ORIGIN)
    image.SetDirection(DIRECTION)
    return image


def make_nrrd(
    folder: Path, name: str, seed: int = 0, spacing: Sequence[float] = (1, 1, 1), shape: Sequence[int] = (6, 20, 24)
) -> tuple[sitk.Image, sitk.Image]:
    """Write a challenge case: uint8, label {0, 255}; arrays are (z, y, x)."""
    image, label = ball(shape, seed)
    (folder / name).mkdir(parents=True)
    pair = to_image(image.astype(np.uint8), spacing), to_image(label * np.uint8(255), spacing)
    for volume, file_name in zip(pair, ("lgemri.nrrd", "laendo.nrrd"), strict=True):
        sitk.WriteImage(volume, str(folder / name / file_name))
    return pair


def make_mhd(
    folder: Path, name: str, seed: int = 0, spacing: Sequence[float] = (0.5, 0.6, 3.0), compressed: bool = False
) -> tuple[sitk.Image, sitk.Image]:
    """Write a PROMISE12 case: int16 image, int8 label."""
    image, label = ball((6, 20, 24), seed)
    folder.mkdir(parents=True, exist_ok=True)
    pair = to_image(image.astype(np.int16), spacing), to_image(label.astype(np.int8), spacing)
    sitk.WriteImage(pair[0], str(folder / f"{name}.mhd"), compressed)
    sitk.WriteImage(pair[1], str(folder / f"{name}_segmentation.mhd"), compressed)
    return pair


def make_nnunet(
    folder: Path, names: Sequence[str], *, channels: int = 1, classes: int = 1, shape: Sequence[int] = (6, 20, 24)
) -> Path:
    """Write an nnU-Net raw dataset of clean cases; with two classes the ball's right half is the second."""
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for number, name in enumerate(names):
        image, label = ball(shape, seed=100 + number)
        if classes == 2:
            label = label * (1 + (np.arange(shape[-1]) > shape[-1] // 2).astype(np.uint8))
        for channel in range(channels):
            path = folder / "imagesTr" / f"{name}_{channel:04d}.nii.gz"
            sitk.WriteImage(to_image((image + channel).astype(np.float32), (0.5, 0.6, 3.0)), str(path))
        sitk.WriteImage(to_image(label, (0.5, 0.6, 3.0)), str(folder / "labelsTr" / f"{name}.nii.gz"))
    description = {
        "channel_names": {str(channel): "MRI" for channel in range(channels)},
        "labels": {"background": 0, **{f"class{value}": value for value in range(1, classes + 1)}},
        "numTraining": len(names),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def array_of(path: Path) -> np.ndarray:
    """Return the array (z, y, x) of an image file."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def tree(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, hidden ones included, with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read(path: Path) -> object:
    """Return parsed JSON."""
    return json.loads(path.read_text())
