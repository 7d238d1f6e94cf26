"""Images and labels that a converter writes, and what their values are."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.whole_files import write_whole


def write_image(image: sitk.Image, path: Path) -> None:
    """Write an image as .nii.gz, compressed at zlib's fastest level.

    ITK's NIfTI writer knows only its own level, which takes three times as long on floats for files some 5 to 25 %
    smaller.
    """
    plain = path.with_name(f".{path.name.removesuffix('.nii.gz')}.nii")
    try:
        write_whole(image, plain, compress=False)
        with (
            plain.open("rb") as source,
            path.open("wb") as file,
            # No name and no time in the header: the same image is the same bytes.
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
    finally:
        plain.unlink(missing_ok=True)


def write_label(label: sitk.Image, path: Path) -> None:
    """Write a label compressed, in the format of the path's ending. Labels shrink to next to nothing at any level."""
    write_whole(label, path)


def values_in(array: np.ndarray) -> list[int | float]:
    """Return the distinct values, ascending.

    A label has few: in arrays of single bytes they are struck out one after the other, each at the speed of a copy.
    """
    if array.dtype.kind not in "iu" or array.dtype.itemsize > 1:
        return [value.item() for value in np.unique(array)]
    left, found = array.tobytes(), bytearray()
    while left:
        found.append(left[0])
        left = left.translate(None, left[:1])
    return sorted(np.frombuffer(bytes(found), dtype=array.dtype).tolist())


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
