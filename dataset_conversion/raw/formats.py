"""Images and labels of a raw dataset, read by the reader that nnU-Net takes for it, and written as it would."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
import tifffile

from dataset_conversion.raw.geometry import Grid
from noise_synthesis.safe_io.damage import NotFiniteError, not_finite
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_files, read_json
from noise_synthesis.safe_io.label_files import as_integers, label_ending
from noise_synthesis.safe_io.reading import last_line, read_files
from noise_synthesis.safe_io.volumes import LabelVolume
from noise_synthesis.safe_io.whole_files import refuse_incomplete

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # from nibabel's coordinates to ITK's
_PICTURE_MM = 999
"""What nnU-Net says of the slices of a picture, which is only one."""


_READ_AS = {".nii": ".nii.gz", ".mhd": ".mha"}
"""Endings that nnU-Net knows for fewer readers than those of their kin, or for none."""


@dataclass(frozen=True)
class Reading:
    """The files of a case as nnU-Net's reader gives them.

    Attributes:
        voxels: (C, z, y, x) float32.
        properties: nnU-Net's, by which its writer puts a label on the same grid.
    """

    voxels: np.ndarray
    properties: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x)."""
        return self.voxels.shape[1:]

    @property
    def flat(self) -> bool:
        """Whether the files have two dimensions; nnU-Net then makes up a distance of slices."""
        if "sitk_stuff" in self.properties:
            return len(self.properties["sitk_stuff"]["spacing"]) == 2
        return self.shape[0] == 1 and self.properties["spacing"][0] == _PICTURE_MM

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(z, y, x); the slice of a flat image is 1 mm thick."""
        z, y, x = (float(step) for step in self.properties["spacing"])
        return 1.0 if self.flat else z, y, x

    @property
    def grid(self) -> Grid:
        """Where the voxels lie, in ITK's coordinates; pictures have no place, tiff files none but their spacing."""
        size = self.shape[::-1][: 2 if self.flat else 3]
        if "sitk_stuff" in self.properties:
            itk = self.properties["sitk_stuff"]
            return Grid.of_itk(size, itk["spacing"], itk["origin"], itk["direction"])
        if "nibabel_stuff" in self.properties:
            known = self.properties["nibabel_stuff"]
            return Grid(size, _LPS @ np.asarray(known.get("reoriented_affine", known["original_affine"])))
        return Grid(size, np.diag([*self.spacing_mm[::-1][: len(size)], 1.0]))


@dataclass(frozen=True)
class DatasetFormat:
    """How the files of a dataset are read and written.

    Attributes:
        reader_writer: nnU-Net's class.
        ending: Of the files, such as ``.nii.gz``.
    """

    reader_writer: type
    ending: str

    def channels(self, paths: Sequence[Path]) -> Reading:
        """Read the images of one case; a file may hold several channels, as a colour picture does.

        Raises:
            InputError: a file is missing or unreadable, or the channels do not fit together. ``NotFiniteError`` for
                values that are no numbers.
        """
        reading = Reading(*read_files(lambda names: self.reader_writer().read_images(names), paths))
        return _checked(reading, paths)

    def read(self, path: Path) -> tuple[LabelVolume, Reading]:
        """Read a label: integers (z, y, x), and what ``write`` needs to write another one on its grid.

        Raises:
            InputError: missing, unreadable, or no label.
        """
        reading = _checked(Reading(*read_files(lambda names: self.reader_writer().read_seg(names[0]), [path])), [path])
        if len(reading.voxels) != 1:
            palette = " (a palette is read as its colours)" if len(reading.voxels) in (3, 4) else ""
            raise InputError(
                f"{path}: has {len(reading.voxels)} channels{palette}, expected a label with one value for each "
                "pixel; save it as a grey picture of the label values"
            )
        return LabelVolume(as_integers(reading.voxels[0], path), reading.spacing_mm), reading

    def write(self, voxels: np.ndarray, grid: Reading, path: Path) -> None:
        """Write a label (z, y, x) on the grid of what was read, and what nnU-Net puts beside it.

        Raises:
            OSError: it cannot be written whole.
        """
        self._write(voxels.astype(smallest_type(voxels)), grid, path)

    def write_values(self, values: np.ndarray, grid: Reading, path: Path) -> None:
        """Write float32 values (z, y, x) on the grid of what was read.

        Args:
            path: Its ending must be one of :attr:`values_ending`.
        """
        self._write(values.astype(np.float32), grid, path)

    @property
    def values_ending(self) -> str:
        """Of files of numbers: pictures cannot hold them, so theirs are tiff files."""
        return ".tif" if self.reader_writer.__name__ in ("NaturalImage2DIO", "Tiff3DIO") else self.ending

    def _write(self, voxels: np.ndarray, grid: Reading, path: Path) -> None:
        with atomic_files(path) as temporary:
            try:
                # Not by nnU-Net's writers: they know 8 bits only where they turn an image, and no numbers at all.
                if "sitk_stuff" in grid.properties:
                    _write_by_itk(voxels, grid.properties["sitk_stuff"], temporary)
                elif "nibabel_stuff" in grid.properties:
                    _write_by_nibabel(voxels, grid.properties["nibabel_stuff"], temporary)
                elif voxels.dtype == np.float32:
                    tifffile.imwrite(temporary, voxels[0] if len(voxels) == 1 else voxels, compression="zlib")
                else:
                    self.reader_writer().write_seg(voxels, str(temporary), grid.properties)
            except OSError:
                raise
            except Exception as error:  # the libraries let through whatever they are made of
                raise OSError(errno.EIO, f"cannot be written ({last_line(error)})", os.fspath(temporary)) from None
            refuse_incomplete(temporary)


def dataset_format(dataset_json: Mapping[str, Any], examples: Sequence[Path]) -> DatasetFormat:
    """Return the format that nnU-Net would choose for a dataset.

    Args:
        examples: Some of its images; the first that any reader can read decides.

    Raises:
        InputError: there is no reader for this file ending, or none that can read one of ``examples``.
    """
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    def choose(names: list[str]) -> type:
        with contextlib.redirect_stderr(io.StringIO()):
            found: type = determine_reader_writer_from_dataset_json(dataset_json, names[0], verbose=False)
            return found

    ending, reasons = str(dataset_json["file_ending"]), []
    for example in examples:
        try:
            return DatasetFormat(read_files(choose, [example]), ending)
        except NotFiniteError:  # whoever reads this case will say so
            return DatasetFormat(choose([str(example)]), ending)
        except InputError as error:
            reasons.append(str(error))
    if "Unable to determine a reader" in reasons[0]:
        raise InputError(f"{examples[0]}: nnU-Net has no reader that can read this file")
    raise InputError(reasons[0])


def folder_format(files: Sequence[Path], *folders: Path) -> DatasetFormat:
    """Return the format of label files: by the first dataset.json in or beside a folder, else by their ending.

    Args:
        files: Some label files.
        folders: Where a dataset.json for files of this ending may be.

    Raises:
        InputError: nnU-Net has no reader for them.
    """
    ending = label_ending(files[0]) or files[0].suffix
    for place in (place for folder in folders for place in (folder, folder.parent)):
        if (place / "dataset.json").is_file():
            description = read_json(place / "dataset.json")
            if isinstance(description, dict) and description.get("file_ending") == ending:
                return dataset_format(description, files[:3])
    found = dataset_format({"file_ending": _READ_AS.get(ending.lower(), ending)}, files[:3])
    return DatasetFormat(found.reader_writer, ending)


def smallest_type(voxels: np.ndarray) -> type:
    """Return the unsigned type nnU-Net would store a label in."""
    return np.uint8 if voxels.max(initial=0) < 255 else np.uint16


def _checked(reading: Reading, paths: Sequence[Path]) -> Reading:
    if len(reading.properties.get("sitk_stuff", {}).get("spacing", ())) > 3:
        raise InputError(
            f"{paths[0]}: has four dimensions, and nnU-Net cannot write a segmentation for such an image; save every "
            "volume in a file of its own (NAME_0000, NAME_0001, ...)"
        )
    for channel, voxels in enumerate(reading.voxels):
        if not np.isfinite(voxels).all():
            raise not_finite(paths[channel] if len(paths) == len(reading.voxels) else paths[0])
    return reading


def _write_by_itk(voxels: np.ndarray, itk: dict[str, Any], path: Path) -> None:
    image = sitk.GetImageFromArray(voxels[0] if len(itk["spacing"]) == 2 else voxels)
    image.SetSpacing(itk["spacing"])
    image.SetOrigin(itk["origin"])
    image.SetDirection(itk["direction"])
    if "original_orientation" in itk:
        image = sitk.DICOMOrient(image, itk["original_orientation"])
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_by_nibabel(voxels: np.ndarray, known: dict[str, Any], path: Path) -> None:
    original = known["original_affine"]
    image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), known.get("reoriented_affine", original))
    if "reoriented_affine" in known:
        orientations = nibabel.orientations
        turn = orientations.ornt_transform(orientations.axcodes2ornt("RAS"), orientations.io_orientation(original))
        image = image.as_reoriented(turn)
    nibabel.save(image, path)
