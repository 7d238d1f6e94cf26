"""Components that are missing, bitten off or made up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.ndimage import label as connected_components

from noise_synthesis.recipes.base import ClassParameters, Recipe
from noise_synthesis.safe_io.volumes import Frame


@dataclass(frozen=True)
class Components(Recipe):
    """Pieces of a structure overlooked, and pieces added beside it, of radius ``share * strength_mm`` each.

    Of ``blobs`` balls per structure each is, by a coin, a bite around a random point inside, or a false piece beside
    a random point of the surface, with a gap. Besides, components of the structure whose equivalent radius is below
    ``component_share * strength_mm`` are overlooked, the largest one excepted. A bite that would leave nothing is not
    taken. Slice by slice the balls are disks, drawn anew for each slice.
    """

    name: ClassVar[str] = "components"
    summary: ClassVar[str] = "pieces missing, and false pieces added"
    blobs: int = 4
    smallest_share: float = 0.4
    component_share: float = 0.5
    gap_share: float = 0.25

    def draw_class(self, rng: np.random.Generator) -> ClassParameters:
        return {"blob_seed": int(rng.integers(2**31))}

    def deform_class(
        self, depth: np.ndarray, parameters: ClassParameters, strength_mm: float, frame: Frame
    ) -> np.ndarray:
        seed = parameters["blob_seed"]
        if not frame.per_slice:
            return self._disturb(depth, np.random.default_rng(seed), strength_mm, frame.spacing_mm)
        corrupted = depth.copy()
        for index in np.flatnonzero((depth > 0).any(axis=(1, 2))):
            rng = np.random.default_rng([seed, frame.start[0] + int(index)])
            corrupted[index] = self._disturb(depth[index], rng, strength_mm, frame.spacing_mm[1:])
        return corrupted

    def reach_mm(self, strength_mm: float) -> float:
        return (2 + self.gap_share) * strength_mm

    def _disturb(
        self, depth: np.ndarray, rng: np.random.Generator, strength_mm: float, spacing_mm: tuple[float, ...]
    ) -> np.ndarray:
        corrupted = self._without_small(depth, strength_mm, spacing_mm)
        inside = np.argwhere(depth > 0)
        surface = np.argwhere((depth > 0) & (depth <= max(spacing_mm)))
        for _ in range(self.blobs):
            added, share, place = rng.random(3)
            radius_mm = (self.smallest_share + (1 - self.smallest_share) * share) * strength_mm
            if added < 0.5:
                start = surface[int(place * len(surface))]
                centre_mm = start * spacing_mm + (radius_mm + self.gap_share * strength_mm) * outward(
                    depth, start, spacing_mm
                )
                corrupted = np.maximum(corrupted, radius_mm - distance_mm(centre_mm, depth.shape, spacing_mm))
            else:
                centre_mm = inside[int(place * len(inside))] * spacing_mm
                bitten = np.minimum(corrupted, distance_mm(centre_mm, depth.shape, spacing_mm) - radius_mm)
                corrupted = bitten if (bitten > 0).any() else corrupted
        return corrupted

    def _without_small(self, depth: np.ndarray, strength_mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
        """Take away the components that are too small to be noticed."""
        numbered, count = connected_components(depth > 0)
        if count < 2:
            return depth
        sizes_mm = np.bincount(numbered.ravel()) * np.prod(spacing_mm)
        radii_mm = np.sqrt(sizes_mm / np.pi) if depth.ndim == 2 else np.cbrt(sizes_mm * 3 / (4 * np.pi))
        overlooked = radii_mm < self.component_share * strength_mm
        overlooked[0] = overlooked[1 + int(sizes_mm[1:].argmax())] = False
        return np.where(overlooked[numbered], -np.abs(depth), depth)


def distance_mm(centre_mm: np.ndarray, shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Distance of every voxel of an array from a point, in mm, float32."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    squared = sum((axis * step - centre) ** 2 for axis, step, centre in zip(axes, spacing_mm, centre_mm, strict=True))
    return np.sqrt(squared).astype(np.float32)


def outward(depth: np.ndarray, voxel: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Unit vector, in mm, that leads out of the shape at a voxel: against the slope of the depth map."""
    slope = np.zeros(depth.ndim)
    for axis, step in enumerate(spacing_mm):
        low, high = voxel.copy(), voxel.copy()
        low[axis], high[axis] = max(voxel[axis] - 1, 0), min(voxel[axis] + 1, depth.shape[axis] - 1)
        if high[axis] > low[axis]:
            rise = float(depth[tuple(high)]) - float(depth[tuple(low)])
            slope[axis] = rise / ((high[axis] - low[axis]) * step)
    length = np.linalg.norm(slope)
    if length > 1e-6:
        return -slope / length
    sideways = np.zeros(depth.ndim)
    sideways[-1] = 1.0
    return sideways
