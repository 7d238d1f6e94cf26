"""A small sound raw dataset with roles and folds, for the tests that plant mistakes in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from conversion_sources import make_nnunet, read

NAMES = [f"p{number}" for number in range(8)]
ROLES = {"clean": NAMES[:3], "noisy": NAMES[3:5], "unlabeled": NAMES[5:6]}
VAL = NAMES[6:]


def sound_dataset(raw: Path) -> Path:
    """Three clean, two noisy, one unlabeled and two evaluation cases; number 40."""
    folder = make_nnunet(raw / "Dataset040_Own", NAMES)
    description = read(folder / "dataset.json")
    description["labels"]["ignore"] = 2
    write(folder / "dataset.json", description)
    change(folder / "labelsTr" / "p5.nii.gz", lambda a: np.full_like(a, 2))
    (folder / "supervision").mkdir()
    for role, cases in ROLES.items():
        write(folder / "supervision" / f"{role}.json", cases)
    write(folder / "splits_final.json", [{"train": NAMES[:6], "val": VAL}])
    return folder


def write(path: Path, content: Any) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content))


def change(path: Path, how: Callable[[np.ndarray], np.ndarray]) -> None:
    """Replace the voxels of a file by what ``how`` makes of them."""
    image = sitk.ReadImage(str(path))
    changed = sitk.GetImageFromArray(how(sitk.GetArrayFromImage(image)))
    if changed.GetSize() == image.GetSize():
        changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path))


def label(folder: Path, name: str) -> Path:
    """The label file of a case."""
    return folder / "labelsTr" / f"{name}.nii.gz"
