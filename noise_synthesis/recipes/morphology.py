"""Rotation with erosion or dilation (the paper's noise), and one-sided growth and shrinkage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.ndimage import affine_transform

from noise_synthesis.recipes.base import ClassParameters, Recipe
from noise_synthesis.recipes.depth import equivalent_radius_mm
from noise_synthesis.safe_io.volumes import Frame

# An erosion stops at this share of the deepest depth: a structure shrinks to its core but never vanishes.
DEEPEST_EROSION = 0.8


@dataclass(frozen=True)
class RotationMorphology(Recipe):
    """Random rotation combined with erosion or dilation, half of the cases each (paper, section 4.1).

    The radius of the erosion or dilation is ``radius_share * strength_mm`` with a share between ``smallest_share`` and
    1, the span of kernel sizes (7 to 35 pixels) in the authors' related code L2B. The rotation moves a structure's rim
    by up to ``strength_mm``, and turns by ``max_angle_deg`` at most, L2B's 20 degrees. It turns in the slice about
    each slice's own centroid, or, not slice by slice, about a random axis through the centroid of the structure.
    """

    name: ClassVar[str] = "rotation_morphology"
    summary: ClassVar[str] = "rotation with erosion or dilation, per case"
    max_angle_deg: float = 20.0
    smallest_share: float = 0.2

    def draw_class(self, rng: np.random.Generator) -> ClassParameters:
        axis = rng.normal(size=3)
        return {
            "grow": bool(rng.random() < 0.5),
            "radius_share": float(rng.uniform(self.smallest_share, 1)),
            "angle_share": float(rng.uniform(-1, 1)),
            "axis_zyx": (axis / np.linalg.norm(axis)).tolist(),
        }

    def deform_class(
        self, depth: np.ndarray, parameters: ClassParameters, strength_mm: float, frame: Frame
    ) -> np.ndarray:
        largest_rad = min(math.radians(self.max_angle_deg), strength_mm / equivalent_radius_mm(depth, frame))
        axis = (1.0, 0.0, 0.0) if frame.per_slice else parameters["axis_zyx"]
        turned = rotate(depth, parameters["angle_share"] * largest_rad, axis, frame)
        radius_mm = parameters["radius_share"] * strength_mm
        return dilate(turned, radius_mm) if parameters["grow"] else erode(turned, radius_mm)


@dataclass(frozen=True)
class OneSided(Recipe):
    """What systematic noise shares: per class a share of the radius, at least ``smallest_share``."""

    smallest_share: float = 0.5

    def draw_class(self, rng: np.random.Generator) -> ClassParameters:
        return {"radius_share": float(rng.uniform(self.smallest_share, 1))}


@dataclass(frozen=True)
class OverSegmentation(OneSided):
    """Every structure grown by ``radius_share * strength_mm``: systematic, one-sided noise."""

    name: ClassVar[str] = "over_segmentation"
    summary: ClassVar[str] = "every structure too large"

    def deform_class(
        self, depth: np.ndarray, parameters: ClassParameters, strength_mm: float, frame: Frame
    ) -> np.ndarray:
        return dilate(depth, parameters["radius_share"] * strength_mm)


@dataclass(frozen=True)
class UnderSegmentation(OneSided):
    """Every structure shrunk by ``radius_share * strength_mm``, to its core at most: systematic, one-sided noise."""

    name: ClassVar[str] = "under_segmentation"
    summary: ClassVar[str] = "every structure too small"

    def deform_class(
        self, depth: np.ndarray, parameters: ClassParameters, strength_mm: float, frame: Frame
    ) -> np.ndarray:
        return erode(depth, parameters["radius_share"] * strength_mm)


def dilate(depth: np.ndarray, radius_mm: float) -> np.ndarray:
    """Depth map of the shape grown by a ball (slice by slice: a disk) of this radius."""
    return depth + np.float32(radius_mm)


def erode(depth: np.ndarray, radius_mm: float) -> np.ndarray:
    """Depth map of the shape shrunk by a ball or disk of this radius, or to its core where that would remove it."""
    return depth - np.float32(min(radius_mm, DEEPEST_EROSION * float(depth.max())))


def rotate(depth: np.ndarray, angle_rad: float, axis_zyx: tuple[float, ...], frame: Frame) -> np.ndarray:
    """Turn a shape about its centroid, in mm; slice by slice each slice about its own."""
    spacing = np.asarray(frame.spacing_mm)
    matrix = rotation_matrix(angle_rad, axis_zyx) * spacing[None, :] / spacing[:, None]
    if not frame.per_slice:
        return _transform(depth, matrix)
    turned = depth.copy()
    for index in np.flatnonzero((depth > 0).any(axis=(1, 2))):
        turned[index] = _transform(depth[index], matrix[1:, 1:])
    return turned


def rotation_matrix(angle_rad: float, axis_zyx: tuple[float, ...]) -> np.ndarray:
    """Rotation about a unit axis (Rodrigues' formula), 3 x 3, for coordinates in the axis's own order."""
    a, b, c = axis_zyx
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    return np.eye(3) + math.sin(angle_rad) * cross + (1 - math.cos(angle_rad)) * cross @ cross


def _transform(depth: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    centre = np.array([indices.mean() for indices in np.nonzero(depth > 0)])
    return affine_transform(depth, matrix, offset=centre - matrix @ centre, order=1, mode="nearest")
