"""The slices of a case as two small pictures for the report: the image as JPEG, labels and suspicion as PNG.

Slices stand one below the other. In the PNG, red holds the given class plus 16 times the likely one, green the class of
the network plus 16 times that of the proposal, blue the suspicion in 16 steps (0 to 15) plus 16 times the given label's
share of the weight in 15 (1 to 15; 0 where the training gave no weights). As a class, 15 stands for "no label".

Of a 2D network those slices are chosen that have most expected errors. Of a 3D network they follow each other at one
distance, so that the report can cut them the other ways too; where that needs more bytes than there are, they are
chosen as well.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nnunetv2_mlbseg.audit.label_files import MOST_CLASSES
from nnunetv2_mlbseg.audit.one_case import CaseAudit
from nnunetv2_mlbseg.audit.orientation import patient_sides

LONGEST_PX, MOST_SLICES, JPEG_QUALITY = 192, 40, 70
VOLUME_PX = (192, 160, 128, 96)
"""Longest sides to try for volumes; a smaller picture would show too little."""
MOST_VOLUME_SLICES, SLICES_BESIDE = 160, 2
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
        errors_mm3: The volume that is expected to be wrong, of every slice of the case.
        volume: Whether the slices follow each other at one distance, so that they can be cut the other ways.
        pixel_mm: Side of a pixel.
        slice_mm: Distance of slices shown, of a volume.
        asked_volume: Whether one was asked for.
        sides: The patient's, along slices, rows and columns (see :func:`patient_sides`); None where they are unknown.
    """

    slices: tuple[int, ...]
    width: int
    height: int
    image: bytes
    layers: bytes
    errors_mm3: tuple[float, ...] = ()
    volume: bool = False
    pixel_mm: float = 1.0
    slice_mm: float = 1.0
    asked_volume: bool = False
    sides: tuple[tuple[str, str], ...] | None = None

    @property
    def size(self) -> int:
        """Bytes in the report."""
        return (len(self.image) + len(self.layers)) * 4 // 3

    def as_dict(self) -> dict[str, Any]:
        """For the report, files as base64."""
        files = {name: base64.b64encode(getattr(self, name)).decode() for name in ("image", "layers")}
        return {**vars(self), "slices": list(self.slices), "errors_mm3": list(self.errors_mm3), **files}


def thumbnails(
    audited: CaseAudit, image: NDArray[np.floating], axis: int, most_bytes: int, volume: bool = False
) -> Thumbnails:
    """Draw the slices that matter; fewer, but at least one, if the files would be larger than ``most_bytes``.

    Args:
        image: (Z, Y, X), one channel, in the geometry of the label.
        axis: Which axis counts the slices.
        volume: Draw slices that follow each other, if there is room.

    Raises:
        ValueError: more classes than a layer can hold.
    """
    classes = 1 + max(value for own in audited.groups.structures.values.values() for value in own)
    if classes > MOST_CLASSES:
        raise ValueError(f"{classes} classes, expected at most {MOST_CLASSES}")
    all_mm = audited.label.grid.spacing_mm[::-1]
    spacing = [mm for k, mm in enumerate(all_mm) if k != axis]
    low, high = np.percentile(image, (1, 99))
    grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    grey, layers = np.moveaxis(grey, axis, 0), np.moveaxis(_layers(audited), axis, 0)
    errors, candidates = _errors(audited, axis)
    sides = patient_sides(audited.label.reading)
    facts = {
        "errors_mm3": tuple((errors * audited.label.grid.voxel_mm3).tolist()),
        "asked_volume": volume,
        "sides": None if sides is None else (sides[axis], *(one for k, one in enumerate(sides) if k != axis)),
    }

    def draw(chosen: tuple[int, ...], longest_px: int = LONGEST_PX, **more: Any) -> Thumbnails:
        return _draw(grey, layers, chosen, spacing, longest_px, {**facts, **more})

    found = _as_volume(draw, errors, candidates, all_mm[axis], most_bytes) if volume else None
    return found or _as_slices(draw, errors, candidates, most_bytes)


Draw = Callable[..., Thumbnails]


def _as_slices(draw: Draw, errors: NDArray[np.float64], candidates: NDArray[np.int64], most_bytes: int) -> Thumbnails:
    """The slices with most expected errors, in order."""
    worst_first = candidates[np.argsort(-errors[candidates], kind="stable")]
    count = min(MOST_SLICES, len(candidates))
    while True:
        found = draw(tuple(sorted(worst_first[:count].tolist())))
        if found.size <= most_bytes or count == 1:
            return found
        count = max(1, count * 2 // 3)


def _as_volume(
    draw: Draw, errors: NDArray[np.float64], candidates: NDArray[np.int64], slice_mm: float, most_bytes: int
) -> Thumbnails | None:
    """All slices from the first to the last that matters and some beside them, the worst among them.

    Of many thin slices every second, third, ... is taken, so that they are not much closer than pixels. None if the
    files are larger than ``most_bytes`` however small.
    """
    first = max(0, int(candidates[0]) - SLICES_BESIDE)
    last = min(len(errors) - 1, int(candidates[-1]) + SLICES_BESIDE)
    worst = int(candidates[errors[candidates].argmax()])
    for longest_px in VOLUME_PX:
        pixel_mm = draw((worst,), longest_px).pixel_mm
        step = max(round(pixel_mm / slice_mm), -(-(last - first + 1) // MOST_VOLUME_SLICES), 1)
        chosen = tuple(range(first + (worst - first) % step, last + 1, step))
        found = draw(chosen, longest_px, volume=True, slice_mm=step * slice_mm)
        if found.size <= most_bytes:
            return found
    return None


def _errors(audited: CaseAudit, axis: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Expected wrong voxels of every slice, and the numbers of the slices with a label or a doubt (or the middle)."""
    others = tuple(k for k in range(3) if k != axis)
    errors = audited.suspicion.double().sum(dim=others).numpy()
    matters = (audited.label.classes > 0) | (audited.suspicion >= LEAST_SHOWN)
    candidates = np.flatnonzero(matters.sum(dim=others).numpy())
    return errors, candidates if len(candidates) else np.array([len(errors) // 2])


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
    grey: NDArray[np.floating],
    layers: NDArray[np.uint8],
    chosen: tuple[int, ...],
    spacing_mm: list[float],
    longest_px: int,
    facts: dict[str, Any],
) -> Thumbnails:
    height, width, pixel_mm = _pixels(grey.shape[1:], spacing_mm, longest_px)
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
    return Thumbnails(chosen, width, height, image.getvalue(), small.getvalue(), pixel_mm=pixel_mm, **facts)


def _pixels(shape: tuple[int, ...], spacing_mm: list[float], longest_px: int) -> tuple[int, int, float]:
    """Height and width in square pixels, none longer than ``longest_px`` and no finer than the finest voxel; in mm."""
    extent = [size * mm for size, mm in zip(shape, spacing_mm, strict=True)]
    pixel = max(max(extent) / longest_px, min(spacing_mm))
    height, width = (max(1, round(length / pixel)) for length in extent)
    return height, width, pixel
