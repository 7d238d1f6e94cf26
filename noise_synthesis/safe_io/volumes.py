"""A label volume with its voxel size, and the part of it that corruption has to look at."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from noise_synthesis.safe_io.errors import InputError


@dataclass(frozen=True)
class LabelVolume:
    """A label map ``voxels`` of integers, axes (z, y, x), and its voxel size in the same order.

    A single slice is a volume with one slice. The array is never written to.
    """

    voxels: np.ndarray
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3:
            raise InputError(f"label volume: got {self.voxels.ndim} dimensions, expected 3, ordered (z, y, x)")
        if not np.issubdtype(self.voxels.dtype, np.integer):
            raise InputError(f"label volume: got values of type {self.voxels.dtype}, expected integers")
        spacing = tuple(float(value) for value in self.spacing_mm)
        if len(spacing) != 3 or not all(math.isfinite(value) and value > 0 for value in spacing):
            raise InputError(f"label volume: got spacing {self.spacing_mm}, expected three positive numbers in mm")
        object.__setattr__(self, "spacing_mm", spacing)


@dataclass(frozen=True)
class Frame:
    """Where an array lies in its volume, and how it is to be seen.

    Attributes:
        start: index of the array's first voxel in the volume.
        volume_shape: shape of the whole volume.
        spacing_mm: voxel size (z, y, x).
        per_slice: every axial slice is a picture of its own; nothing moves or reaches from one slice to another.
    """

    start: tuple[int, int, int]
    volume_shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    per_slice: bool


@dataclass(frozen=True)
class TightCrop:
    """Everything of a label volume that is not background, compressed so that hundreds can be held in memory."""

    packed: bytes
    dtype: str
    shape: tuple[int, int, int]
    start: tuple[int, int, int]
    volume_shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    def padded(self, margin_mm: float, per_slice: bool) -> tuple[np.ndarray, Frame]:
        """Return the crop with background around it, as far as the volume goes, and its frame.

        The margin is at least one voxel, without which distances to the background would be too long. Slice by
        slice nothing can reach another slice, so no slices are added.
        """
        before, after = [], []
        for axis in range(3):
            wanted = 0 if per_slice and axis == 0 else 1 + math.ceil(margin_mm / self.spacing_mm[axis])
            end = self.start[axis] + self.shape[axis]
            before.append(min(wanted, self.start[axis]))
            after.append(min(wanted, self.volume_shape[axis] - end))
        tight = np.frombuffer(zlib.decompress(self.packed), dtype=self.dtype).reshape(self.shape)
        voxels = np.pad(tight, list(zip(before, after, strict=True)))
        z, y, x = (s - b for s, b in zip(self.start, before, strict=True))
        return voxels, Frame((z, y, x), self.volume_shape, self.spacing_mm, per_slice)

    @property
    def extent_mm(self) -> float:
        """Length of the crop's diagonal."""
        return math.hypot(*(n * s for n, s in zip(self.shape, self.spacing_mm, strict=True)))


def tight_crop(volume: LabelVolume) -> TightCrop | None:
    """Crop a volume to everything that is not background; ``None`` where there is only background."""
    occupied = volume.voxels != 0
    bounds = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        indices = np.flatnonzero(occupied.any(axis=others))
        if indices.size == 0:
            return None
        bounds.append(slice(int(indices[0]), int(indices[-1]) + 1))
    tight = np.ascontiguousarray(volume.voxels[tuple(bounds)])
    return TightCrop(
        packed=zlib.compress(tight.tobytes(), 1),
        dtype=tight.dtype.str,
        shape=tight.shape,
        start=(bounds[0].start, bounds[1].start, bounds[2].start),
        volume_shape=volume.voxels.shape,
        spacing_mm=volume.spacing_mm,
    )


def classes_in(voxels: np.ndarray, ignore_label: int | None) -> list[int]:
    """Return the foreground classes of a label map, ascending; neither background nor the ignore label is one."""
    return [int(value) for value in np.unique(voxels) if value != 0 and value != ignore_label]
