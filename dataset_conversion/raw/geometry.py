"""Where a voxel lies in space, kept through transposing, resizing and cropping.

SimpleITK order throughout: sizes, spacings (mm) and indices are (x, y, z), arrays are (z, y, x). "In plane" means the
first two axes: the axial slices of both public data sets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

# Headers written by different tools disagree in the last digits; a shift by a hundredth of a voxel is no other grid.
GRID_TOLERANCE_VOXELS = 0.01


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


def grid_distance_voxels(image: sitk.Image, other: sitk.Image) -> float:
    """Return how far apart the same voxel lies in two images of one size, at the worst corner, in voxels of the first.

    Size, spacing, origin and direction all come together in this number; 0 means one and the same grid.
    """
    last = [length - 1 for length in image.GetSize()]
    corners = np.array(np.meshgrid(*[(0, end) for end in last])).reshape(len(last), -1).T.tolist()
    moved = [
        image.TransformPhysicalPointToContinuousIndex(other.TransformIndexToPhysicalPoint(corner)) for corner in corners
    ]
    return float(np.abs(np.array(moved) - np.array(corners)).max())
