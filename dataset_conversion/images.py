"""Reading and writing image files with SimpleITK, with an error that fits in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from noise_synthesis.errors import InputError


def read_image(path: Path) -> sitk.Image:
    """Read any format SimpleITK knows.

    Raises:
        InputError: missing, damaged or unknown; one line that names the file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"{path}: cannot be read as an image ({_last_line(error)})") from None


def write_image(image: sitk.Image, path: Path) -> None:
    """Write compressed."""
    sitk.WriteImage(image, str(path), True)


def values_in(array: np.ndarray) -> list[int | float]:
    """Return the distinct values, ascending; for integers by counting, which is faster than sorting."""
    if array.dtype.kind not in "iu" or not array.size:
        return [value.item() for value in np.unique(array)]
    low, high = int(array.min()), int(array.max())
    if high - low >= 1 << 16:
        return [value.item() for value in np.unique(array)]
    counts = np.bincount(np.subtract(array, low, dtype=np.int32).ravel())
    return [int(value) + low for value in np.flatnonzero(counts)]


def check_label_values(array: np.ndarray, allowed: Sequence[int], where: str) -> None:
    """Raise ``InputError`` if ``array`` holds a value that is not in ``allowed``; ``where`` begins the line."""
    strange = [value for value in values_in(array) if value not in allowed]
    if strange:
        raise InputError(
            f"{where}: label value {', '.join(map(str, strange[:5]))}; expected {', '.join(map(str, allowed))}"
        )


def what_is_in(folder: Path) -> str:
    """Say in a few words what a folder holds, for the error that it holds something else."""
    entries = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    if not entries:
        return "the folder is empty"
    return f"{len(entries)} entries: {', '.join(entries[:3])}{', ...' if len(entries) > 3 else ''}"


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
