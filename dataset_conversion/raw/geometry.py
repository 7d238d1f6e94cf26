"""Where a voxel lies in space, kept through transposing, resizing and cropping.

SimpleITK order throughout: sizes, spacings (mm) and indices are (x, y, z), arrays are (z, y, x). "In plane" means the
first two axes: the axial slices of both public data sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

# Headers written by different tools disagree in the last digits; a shift by a hundredth of a voxel is no other grid.
GRID_TOLERANCE_VOXELS = 0.01


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie; the axes need not be orthogonal.

    Attributes:
        size: Voxels along x, y and, unless the image is flat, z.
        affine: (D + 1, D + 1); takes an index (x, y, z, 1) to a place in mm.
    """

    size: tuple[int, ...]
    affine: np.ndarray

    @classmethod
    def of_image(cls, image: sitk.Image) -> Grid:
        """That of an image of SimpleITK."""
        return cls.of_itk(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    @classmethod
    def of_itk(
        cls, size: Sequence[int], spacing_mm: Sequence[float], origin: Sequence[float], direction: Sequence[float]
    ) -> Grid:
        """By ITK's terms, all in the order x, y, z."""
        affine = np.eye(len(size) + 1)
        affine[:-1, :-1] = np.reshape(direction, (len(size), len(size))) * spacing_mm
        affine[:-1, -1] = origin
        return cls(tuple(size), affine)

    def as_volume(self) -> Grid:
        """The grid with three axes; a flat image becomes one slice, 1 mm thick."""
        if len(self.size) == 3:
            return self
        affine = np.eye(4)
        affine[:2, :2], affine[:2, 3] = self.affine[:2, :2], self.affine[:2, 2]
        return Grid((*self.size, 1), affine)

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Distance between neighbours along every axis."""
        return tuple(np.linalg.norm(self.affine[:-1, :-1], axis=0).tolist())

    @property
    def directions(self) -> tuple[float, ...]:
        """The matrix of the axes, each of length 1, row by row."""
        return tuple((self.affine[:-1, :-1] / np.array(self.spacing_mm)).ravel().tolist())

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel, or area of a pixel in mm2."""
        return float(abs(np.linalg.det(self.affine[:-1, :-1])))

    def place_mm(self, index: Sequence[float]) -> np.ndarray:
        """Where an index (x, y, z) lies; with fractions, between the voxels."""
        place: np.ndarray = (self.affine @ [*index, 1.0])[:-1]
        return place

    def distance_voxels(self, other: Grid) -> float:
        """How far apart the same voxel lies in two grids, at the worst corner, in voxels of this one.

        Spacing, origin and direction all come together in this number. Infinite for other sizes.
        """
        if self.size != other.size:
            return math.inf
        corners = np.array(np.meshgrid(*[(0, length - 1) for length in self.size])).reshape(len(self.size), -1)
        corners = np.vstack([corners, np.ones(corners.shape[1])])
        moved = np.linalg.solve(self.affine, other.affine @ corners)
        return float(np.abs(moved - corners).max())

    def difference(self, other: Grid) -> str | None:
        """In words how two grids differ, None if they are the same: the one answer to whether two files fit."""
        if self.size != other.size:
            return f"differ in shape: {self.size[::-1]} and {other.size[::-1]} (slices, rows, columns)"
        distance = self.distance_voxels(other)
        if distance <= GRID_TOLERANCE_VOXELS:
            return None
        terms: dict[str, tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]] = {
            "spacing": (self.spacing_mm, other.spacing_mm),
            "origin": (self.affine[:-1, -1], other.affine[:-1, -1]),
            "direction": (self.directions, other.directions),
        }
        named = [
            f"{what} {_rounded(mine)} and {_rounded(theirs)}"
            for what, (mine, theirs) in terms.items()
            if not np.allclose(mine, theirs, rtol=1e-4, atol=1e-4)
        ]
        return f"lie elsewhere in space, up to {distance:.3g} voxels apart: {', '.join(named) or 'the header'}"


def _rounded(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def image_from_xyz(array: np.ndarray, spacing_mm: Sequence[float]) -> sitk.Image:
    """Wrap an array stored as (x, y, z) in an image whose index (i, j, k) is ``array[i, j, k]``."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing([float(step) for step in spacing_mm])
    return image


def resize_in_plane(image: sitk.Image, size: Sequence[int], *, is_label: bool) -> sitk.Image:
    """Resample each slice to ``size`` (x, y) pixels over the same physical extent; the slices stay as they are.

    Image linear, label nearest neighbour. The outer edges of the corner voxels keep their place, so the spacing
    becomes ``old spacing * old size / new size`` and the origin moves by half the difference.
    """
    if list(image.GetSize()[:2]) == list(size):
        return image
    old_size, old_spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    new_size = np.array([*size, *old_size[2:]])
    new_spacing = old_spacing * old_size / new_size
    shift = (new_spacing / old_spacing - 1) / 2
    origin = image.TransformContinuousIndexToPhysicalPoint(shift.tolist())
    interpolator = sitk.sitkNearestNeighbor if is_label else sitk.sitkLinear
    return sitk.Resample(
        image,
        new_size.tolist(),
        sitk.Transform(image.GetDimension(), sitk.sitkIdentity),
        interpolator,
        origin,
        new_spacing.tolist(),
        image.GetDirection(),
    )


def box_in_plane(label: sitk.Image, margin: int, smallest: int) -> tuple[slice, slice]:
    """Return the in-plane index range (x, y) around the foreground of ``label``.

    The foreground's bounding box is first widened evenly to ``smallest`` voxels, then by ``margin`` on each side, and
    cut at the image border. An empty label keeps the whole plane.
    """
    foreground = sitk.GetArrayViewFromImage(label) > 0
    ranges = []
    for axis, length in ((2, label.GetSize()[0]), (1, label.GetSize()[1])):
        hit = np.flatnonzero(foreground.any(axis=tuple(other for other in range(3) if other != axis)))
        if not hit.size:
            return slice(0, label.GetSize()[0]), slice(0, label.GetSize()[1])
        low, high = int(hit[0]), int(hit[-1]) + 1
        widening = max(smallest - (high - low), 0) // 2 + margin
        ranges.append(slice(max(low - widening, 0), min(high + widening, length)))
    return ranges[0], ranges[1]
