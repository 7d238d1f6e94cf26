"""Shapes as depth maps: how far inside a shape a voxel lies, in mm, negative outside. And back to one label map."""

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


def class_depths(label: np.ndarray, classes: list[int], frame: Frame) -> dict[int, np.ndarray]:
    """Return the depth map of every class of a label map."""
    return {value: depth_map(label == value, frame) for value in classes}


def merge_depths(corrupted: dict[int, np.ndarray], clean: dict[int, np.ndarray]) -> np.ndarray:
    """Turn one depth map per class into one label map, without a say for label order or chance.

    A voxel belongs to the class in whose corrupted shape it lies deepest, and to the background where it lies in
    none. A tie goes to the class in whose clean shape the voxel lies deepest, a tie in that as well to the smaller
    clean structure. Two neighbours that grow alike thus keep their common border.
    """
    by_size = sorted(corrupted, key=lambda value: (np.count_nonzero(clean[value] > 0), value))
    first = corrupted[by_size[0]]
    label = np.zeros(first.shape, dtype=np.int64)
    deepest = np.zeros(first.shape, dtype=np.float32)
    clean_depth = np.full(first.shape, -np.inf, dtype=np.float32)
    for value in by_size:
        depth = corrupted[value]
        wins = (depth > deepest) | ((depth == deepest) & (depth > 0) & (clean[value] > clean_depth))
        label[wins] = value
        deepest[wins] = depth[wins]
        clean_depth[wins] = clean[value][wins]
    return label


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
