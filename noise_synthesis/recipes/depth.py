"""Shapes as depth maps: how far inside a shape a voxel lies, in mm, negative outside."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from noise_synthesis.safe_io.volumes import Frame

# Depth where a slice has nothing of a shape (negative) or nothing else (positive): beyond every real distance.
FAR_MM = 1e5


def depth_map(mask: np.ndarray, frame: Frame) -> np.ndarray:
    """Return the signed distance to the shape's border in mm, positive inside, float32, shape of ``mask`` (z, y, x).

    The border lies half a voxel (the smallest spacing) before the next voxel of the other kind, so that
    ``depth_map(mask) > 0`` is ``mask``. Where the shape leaves the array it is taken to go on. With
    ``frame.per_slice`` distances are measured within each slice alone.
    """
    if frame.per_slice:
        return np.stack([_signed_distance(picture, frame.spacing_mm[1:]) for picture in mask])
    return _signed_distance(mask, frame.spacing_mm)


def _signed_distance(mask: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    if not mask.any() or mask.all():
        return np.where(mask, FAR_MM, -FAR_MM).astype(np.float32)
    half_voxel = min(spacing_mm) / 2
    inside = distance_transform_edt(mask, sampling=spacing_mm)
    outside = distance_transform_edt(~mask, sampling=spacing_mm)
    return np.where(mask, inside - half_voxel, half_voxel - outside).astype(np.float32)


def equivalent_radius_mm(depth: np.ndarray, frame: Frame) -> float:
    """Radius of the ball as large as the shape; slice by slice, of the disk as large as its mean slice.

    0 where the shape is empty.
    """
    inside = depth > 0
    spacing = frame.spacing_mm
    if frame.per_slice:
        slices = int(inside.any(axis=(1, 2)).sum())
        area_mm2 = np.count_nonzero(inside) * spacing[1] * spacing[2] / max(slices, 1)
        return float(np.sqrt(area_mm2 / np.pi))
    volume_mm3 = np.count_nonzero(inside) * spacing[0] * spacing[1] * spacing[2]
    return float(np.cbrt(volume_mm3 * 3 / (4 * np.pi)))
