"""Label files read and written the way nnU-Net would for their dataset, geometry and format kept."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import SimpleITK as sitk

from dataset_conversion.raw.images import read_image, write_label
from noise_synthesis.safe_io.compressed import refuse_damaged_gzip
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.label_files import as_volume, hides_non_finite, read_label
from noise_synthesis.safe_io.volumes import LabelVolume


class LabelFormat(Protocol):
    """Reads a label (or one image, for its grid) and writes a label on the grid of what was read."""

    def read(self, path: Path) -> tuple[LabelVolume, Any]:
        """Return the label as integers (z, y, x) and its grid, which ``write`` takes."""

    def grid_of(self, image: Path) -> tuple[tuple[int, ...], Any]:
        """Return shape (z, y, x) and grid of an image, for a label that shall lie on it."""

    def write(self, voxels: np.ndarray, grid: Any, path: Path) -> None:
        """Write a label (z, y, x) on the grid of another file."""


@dataclass(frozen=True)
class SimpleItkLabels:
    """Any format that SimpleITK reads and writes. The grid is the image that was read."""

    def read(self, path: Path) -> tuple[LabelVolume, sitk.Image]:
        """See ``LabelFormat``; a single slice becomes a volume of one, its third spacing 1 mm."""
        image = read_label(path)
        return as_volume(image, path), image

    def grid_of(self, image: Path) -> tuple[tuple[int, ...], sitk.Image]:
        """See ``LabelFormat``."""
        grid = read_image(image)
        if grid.GetDimension() not in (2, 3):
            raise InputError(f"{image}: has {grid.GetDimension()} dimensions, expected one volume of 2 or 3 a file")
        return (*grid.GetSize(), 1)[:3][::-1], grid

    def write(self, voxels: np.ndarray, grid: sitk.Image, path: Path) -> None:
        """See ``LabelFormat``."""
        array = voxels.reshape(grid.GetSize()[::-1]).astype(smallest_type(voxels))
        image = sitk.GetImageFromArray(array)
        image.CopyInformation(grid)
        write_label(image, path)


@dataclass(frozen=True)
class NnunetLabels:
    """Any format that nnU-Net reads: natural images, tiff, NIfTI by nibabel. The grid is nnU-Net's properties."""

    reader_writer: type

    def read(self, path: Path) -> tuple[LabelVolume, dict[str, Any]]:
        """See ``LabelFormat``."""
        array, properties = read_channels(self.reader_writer, [path])
        z_mm, y_mm, x_mm = (float(step) for step in properties["spacing"])
        return LabelVolume(as_integers(array[0], path), (z_mm, y_mm, x_mm)), properties

    def grid_of(self, image: Path) -> tuple[tuple[int, ...], dict[str, Any]]:
        """See ``LabelFormat``."""
        array, properties = read_channels(self.reader_writer, [image])
        return array.shape[1:], properties

    def write(self, voxels: np.ndarray, grid: dict[str, Any], path: Path) -> None:
        """See ``LabelFormat``."""
        self.reader_writer().write_seg(voxels.astype(smallest_type(voxels)), str(path), grid)


def label_format(dataset_json: dict[str, Any], example: Path) -> LabelFormat:
    """Return the format that nnU-Net would choose for a dataset; ``example`` is one of its images.

    Raises:
        InputError: nnU-Net has no reader for it.
    """
    reader_writer = nnunet_reader(dataset_json, example)
    if reader_writer.__name__ == "SimpleITKIO":
        return SimpleItkLabels()
    return NnunetLabels(reader_writer)


def nnunet_reader(dataset_json: dict[str, Any], example: Path) -> type:
    """Return nnU-Net's reader and writer class for a dataset.

    Raises:
        InputError: there is none for this file ending, or none that can read ``example``.
    """
    if not example.is_file():  # a pipe would be waited for without end
        raise InputError(f"{example}: no such file")
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            found: type = determine_reader_writer_from_dataset_json(dataset_json, str(example), verbose=False)
        except RuntimeError:
            raise InputError(f"{example}: nnU-Net has no reader that can read this file") from None
    return found


def read_channels(reader_writer: type, paths: Sequence[Path]) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the channels of one case with nnU-Net's reader: float32 (C, z, y, x), and the properties.

    Raises:
        InputError: a file is missing or unreadable, or the channels do not fit together.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        refuse_damaged_gzip(path)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            array, properties = reader_writer().read_images([str(path) for path in paths])
    except Exception as error:  # nnU-Net's readers let through whatever their library raises
        # On channels that do not fit together nnU-Net prints the reason and raises an error without a word.
        lines = [line.strip() for line in (str(error) or said.getvalue()).splitlines() if line.strip()]
        reason = (lines[-1] if str(error) else lines[0]) if lines else type(error).__name__
        culprit = next((path for path in paths if str(path) in str(error)), paths[0])  # of a case's several channels
        raise InputError(f"{culprit}: cannot be read ({reason[:200]})") from None
    return array, properties


def non_finite(array: np.ndarray, paths: Sequence[Path]) -> list[Path]:
    """Return those files of a case that hold NaN or infinity; ``array`` (C, z, y, x) is what was read from ``paths``.

    SimpleITK's NIfTI reader silently replaces such values by 0, so float NIfTI files are looked at once more.
    """
    return [
        path
        for channel, path in zip(array, paths, strict=False)
        if not np.isfinite(channel).all() or hides_non_finite(path)
    ]


def as_integers(array: np.ndarray, where: Path) -> np.ndarray:
    """Return a label as integers.

    Raises:
        InputError: it holds values that are no integers.
    """
    if array.dtype.kind in "iu":
        return array
    rounded = np.rint(np.nan_to_num(array)).astype(np.int32)
    if not np.array_equal(rounded, array):
        raise InputError(f"{where}: label values must be whole numbers; found others (or NaN)")
    return rounded


def smallest_type(voxels: np.ndarray) -> type:
    """Return the unsigned type nnU-Net would store a label in."""
    return np.uint8 if voxels.max(initial=0) < 255 else np.uint16
