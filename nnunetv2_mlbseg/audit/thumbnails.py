"""The slices of a case as two small pictures for the report: the image as JPEG, labels and suspicion as PNG.

Slices stand one below the other. In the PNG, red holds the given class plus 16 times the likely one, green the class of
the network plus 16 times that of the proposal, blue the suspicion in 16 steps (0 to 15) plus 16 times the given label's
share of the weight in 15 (1 to 15; 0 where the training gave no weights). As a class, 15 stands for "no label".
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nnunetv2_mlbseg.audit.label_files import MOST_CLASSES
from nnunetv2_mlbseg.audit.one_case import CaseAudit

LONGEST_PX, MOST_SLICES, JPEG_QUALITY = 192, 40, 70
STEPS = 15
SHARES = 14
NO_LABEL = 15  # the one value of four bits that is no class
LEAST_SHOWN = 0.2  # suspicion below it is not drawn


@dataclass(frozen=True)
class Thumbnails:
    """A case in the report.

    Attributes:
        slices: The numbers of the slices shown.
        width, height: Of one slice, in pixels.
        image, layers: The files.
    """

    slices: tuple[int, ...]
    width: int
    height: int
    image: bytes
    layers: bytes

    @property
    def size(self) -> int:
        """Bytes in the report."""
        return (len(self.image) + len(self.layers)) * 4 // 3

    def as_dict(self) -> dict[str, Any]:
        """For the report, files as base64."""
        files = {name: base64.b64encode(getattr(self, name)).decode() for name in ("image", "layers")}
        return {"slices": list(self.slices), "width": self.width, "height": self.height, **files}


def thumbnails(audited: CaseAudit, image: NDArray[np.floating], axis: int, most_bytes: int) -> Thumbnails:
    """Draw the slices that matter; fewer, but at least one, if the files would be larger than ``most_bytes``.

    Args:
        image: (Z, Y, X), one channel, in the geometry of the label.
        axis: Which axis counts the slices.

    Raises:
        ValueError: more classes than a layer can hold.
    """
    classes = 1 + max(value for own in audited.groups.structures.values.values() for value in own)
    if classes > MOST_CLASSES:
        raise ValueError(f"{classes} classes, expected at most {MOST_CLASSES}")
    spacing = [mm for k, mm in enumerate(audited.label.grid.spacing_mm[::-1]) if k != axis]
    low, high = np.percentile(image, (1, 99))
    grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    grey, layers = np.moveaxis(grey, axis, 0), np.moveaxis(_layers(audited), axis, 0)
    count = MOST_SLICES
    while True:
        chosen = chosen_slices(audited, axis, count)
        found = _draw(grey, layers, chosen, spacing)
        if found.size <= most_bytes or count == 1:
            return found
        count = max(1, min(count, len(chosen)) * 2 // 3)


def chosen_slices(audited: CaseAudit, axis: int, count: int) -> tuple[int, ...]:
    """The ``count`` slices with most expected errors, in order; slices without label and without doubt are left out."""
    others = tuple(k for k in range(3) if k != axis)
    errors = audited.suspicion.sum(dim=others).numpy()
    matters = (audited.label.classes > 0) | (audited.suspicion >= LEAST_SHOWN)
    candidates = np.flatnonzero(matters.sum(dim=others).numpy())
    if not len(candidates):
        candidates = np.array([len(errors) // 2])
    return tuple(sorted(candidates[np.argsort(-errors[candidates], kind="stable")[:count]].tolist()))


def _layers(audited: CaseAudit) -> NDArray[np.uint8]:
    """(Z, Y, X, 3), see the head of this module."""

    def nibble(classes: Tensor) -> NDArray[np.uint8]:
        return np.where(classes.numpy() < 0, NO_LABEL, classes.numpy()).astype(np.uint8)

    red = nibble(audited.label.classes) + 16 * nibble(audited.likely)
    green = nibble(audited.network) + 16 * nibble(audited.proposal)
    blue = np.round(audited.suspicion.numpy() * STEPS).astype(np.uint8)
    if audited.weights is not None:
        blue += 16 * (1 + np.round(audited.weights.share.numpy() * SHARES)).astype(np.uint8)
    return np.stack([red, green, blue], axis=-1)


def _draw(
    grey: NDArray[np.floating], layers: NDArray[np.uint8], chosen: tuple[int, ...], spacing_mm: list[float]
) -> Thumbnails:
    height, width = _pixels(grey.shape[1:], spacing_mm)
    rows = (np.arange(height) * grey.shape[1] // height)[:, None]
    columns = np.arange(width) * grey.shape[2] // width
    drawn = [
        Image.fromarray((grey[number] * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BOX)
        for number in chosen
    ]
    image, small = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.concatenate([np.asarray(one) for one in drawn])).save(image, "JPEG", quality=JPEG_QUALITY)
    below = np.concatenate([layers[number][rows, columns] for number in chosen])
    Image.fromarray(below).save(small, "PNG", optimize=True)
    return Thumbnails(chosen, width, height, image.getvalue(), small.getvalue())


def _pixels(shape: tuple[int, ...], spacing_mm: list[float]) -> tuple[int, int]:
    """Height and width in square pixels, none longer than LONGEST_PX and no finer than the finest voxel."""
    extent = [size * mm for size, mm in zip(shape, spacing_mm, strict=True)]
    pixel = max(max(extent) / LONGEST_PX, min(spacing_mm))
    height, width = (max(1, round(length / pixel)) for length in extent)
    return height, width
