"""Small datasets for every reader of nnU-Net, with headers in which something is unusual."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK as sitk
import tifffile
from nnunetv2.imageio.reader_writer_registry import recursive_find_reader_writer_by_name
from skimage import io

CASES = [f"k{number}" for number in range(8)]
SHAPE = (10, 32, 36)
SHEARED = np.array([[-1, 0.05, 0, 10], [0, 1.1, 0.02, -4], [0, 0, 3, 3], [0, 0, 0, 1.0]])
FLIPPED = np.array([[0, 0.05, 2.5, 10], [0, 1.1, 0, -4], [1.2, 0, 0.02, 3], [0, 0, 0, 1.0]])
OBLIQUE = (0.0, 0.8, 0.6, 1.0, 0.0, 0.0, 0.0, 0.6, -0.8)


@dataclass(frozen=True)
class Example:
    """How the files of a dataset are made.

    Attributes:
        reader: Name of nnU-Net's class.
        write: Takes an array (C, z, y, x), a path and the name of its case.
    """

    reader: str
    ending: str
    write: Callable[[np.ndarray, Path, str], Any]
    flat: bool = False
    channels: int = 1


def _itk(direction: tuple[float, ...] | None = None) -> Callable[[np.ndarray, Path, str], None]:
    def write(array: np.ndarray, path: Path, case: str) -> None:
        volume = array[0] if direction else array[0, 0]
        image = sitk.GetImageFromArray(volume)
        image.SetSpacing((0.7, 1.1, 3.0)[: volume.ndim])
        image.SetOrigin((-12.5, 40.25, 7.0)[: volume.ndim])
        if direction:
            image.SetDirection(direction)
        sitk.WriteImage(image, str(path))

    return write


def _nibabel(affine: np.ndarray) -> Callable[[np.ndarray, Path, str], None]:
    def write(array: np.ndarray, path: Path, case: str) -> None:
        image = nibabel.Nifti1Image(np.ascontiguousarray(array[0].T), affine)
        image.set_qform(None, 0)
        image.set_sform(affine, 1)
        nibabel.save(image, path)

    return write


def _picture(array: np.ndarray, path: Path, case: str) -> None:
    pixels = array[:, 0].transpose(1, 2, 0) if len(array) > 1 else array[0, 0]
    io.imsave(path, pixels.astype(np.uint8), check_contrast=False)


def _stack(array: np.ndarray, path: Path, case: str) -> None:
    tifffile.imwrite(path, array[0])
    path.with_name(f"{case}.json").write_text(json.dumps({"spacing": [0.2, 1.0, 0.3]}))


EXAMPLES = {
    "nrrd, oblique": Example("SimpleITKIO", ".nrrd", _itk(OBLIQUE)),
    "mhd, two files": Example("SimpleITKIO", ".mhd", _itk(OBLIQUE)),
    "nifti, flat": Example("SimpleITKIO", ".nii.gz", _itk(), flat=True),
    "nifti, reoriented by ITK": Example("SimpleITKIOWithReorient", ".nii.gz", _itk((0, 0, 1, 0, -1, 0, 1, 0, 0.0))),
    "nifti, sheared": Example("NibabelIO", ".nii.gz", _nibabel(SHEARED)),
    "nifti, sheared and reoriented": Example("NibabelIOWithReorient", ".nii", _nibabel(FLIPPED)),
    "png, colours": Example("NaturalImage2DIO", ".png", _picture, flat=True, channels=3),
    "bmp, grey": Example("NaturalImage2DIO", ".bmp", _picture, flat=True),
    "tif, colours": Example("NaturalImage2DIO", ".tif", _picture, flat=True, channels=3),
    "tif, stack": Example("Tiff3DIO", ".tif", _stack),
    "tiff, stack": Example("Tiff3DIO", ".tiff", _stack),
}


def phantom(seed: int, example: Example) -> tuple[np.ndarray, np.ndarray]:
    """Image (C, z, y, x) and label (1, z, y, x), both uint8: a box that is brighter than what is around it."""
    rng = np.random.default_rng(seed)
    label = np.zeros((1, *SHAPE), np.uint8)
    z, y, x = rng.integers((1, 3, 3), (4, 12, 12))
    label[:, z : z + 4, y : y + 13, x : x + 15] = 1
    if example.flat:
        label = label[:, z : z + 1]
    image = 60 + 120 * label + rng.integers(0, 40, (example.channels, *label.shape[1:]))
    return image.astype(np.uint8), label


def write_example(folder: Path, example: Example, cases: list[str] = CASES) -> Path:
    """Write a raw dataset and return its folder."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for seed, case in enumerate(cases):
        image, label = phantom(seed, example)
        example.write(image, folder / "imagesTr" / f"{case}_0000{example.ending}", case)
        example.write(label, folder / "labelsTr" / f"{case}{example.ending}", case)
    description = {
        "channel_names": {str(channel): f"channel{channel}" for channel in range(example.channels)},
        "labels": {"background": 0, "box": 1},
        "numTraining": len(cases),
        "file_ending": example.ending,
        "overwrite_image_reader_writer": example.reader,
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def as_nnunet_reads(folder: Path, example: Example, case: str) -> dict[str, Any]:
    """Image and label of a case with all that nnU-Net keeps of their headers, as plain lists."""
    reader = recursive_find_reader_writer_by_name(example.reader)()
    image, label = folder / "imagesTr" / f"{case}_0000", folder / "labelsTr" / case
    (pixels, about), (values, about_label) = (
        reader.read_images([f"{image}{example.ending}"]),
        reader.read_seg(f"{label}{example.ending}"),
    )
    plain = json.loads(json.dumps([about, about_label], default=lambda value: np.asarray(value).tolist()))
    return {"image": pixels.tolist(), "label": values, "properties": plain}
