"""Synthetic MRI-like scans of a heart: an atrium with veins, look-alike neighbours, texture, bias field and noise.

The atrium moves, turns, bends from slice to slice and has two to four veins that leave it as curved, tapering tubes.
Beside it lie a second chamber and a great vessel of nearly its brightness, so that brightness alone does not find it.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from noise_synthesis.safe_io.files import atomic_path

Field = NDArray[np.float64]
SHAPE = (64, 64, 16)  # x, y, z: slices are the last axis, as in the UA-MT files

AIR, LUNG, MUSCLE, FAT = 0.03, 0.16, 0.45, 0.85  # brightness before bias field and noise


def write_scan(folder: Path, seed: int, number: int) -> None:
    """Write scan ``number`` as ``folder/mri_norm2.h5``: the layout in which UA-MT distributes the LA scans."""
    image, label = synthetic_scan(np.random.default_rng([seed, number]))
    folder.mkdir(parents=True)
    with atomic_path(folder / "mri_norm2.h5") as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("image", data=image, compression="gzip")
        file.create_dataset("label", data=label, compression="gzip")


def synthetic_scan(
    rng: np.random.Generator, shape: tuple[int, int, int] = SHAPE
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Draw one scan: image ``shape`` of zero mean and unit variance, and label {0, 1} of its atrium."""
    points = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"), axis=-1)
    centre = np.array([-0.12, 0.08, 0.0]) + rng.uniform(-0.22, 0.22, 3) * [1, 1, 0.5]
    atrium = chamber(points, centre, rng.uniform([0.30, 0.24, 0.65], [0.44, 0.36, 0.95]), rng)
    for angle in vein_angles(rng):
        atrium |= vein(points, centre, angle, rng)
    tissue = body(points, rng)
    add_neighbours(tissue, points, centre, atrium, rng)
    tissue[atrium] = rng.uniform(0.68, 0.86)
    return acquired(tissue, rng), atrium.astype(np.uint8)


def chamber(points: Field, centre: Field, radii: Field, rng: np.random.Generator) -> NDArray[np.bool_]:
    """An ellipsoid that leans from slice to slice, turned in plane, with a wavy wall; ``points`` is ``(*S, 3)``."""
    turn, lean = rng.uniform(0, np.pi), rng.uniform(-0.18, 0.18, 2)
    offset = points - centre
    offset[..., :2] -= lean * offset[..., 2:]
    rotated = np.stack(
        [
            np.cos(turn) * offset[..., 0] + np.sin(turn) * offset[..., 1],
            np.cos(turn) * offset[..., 1] - np.sin(turn) * offset[..., 0],
            offset[..., 2],
        ],
        axis=-1,
    )
    waves = smooth_noise(points.shape[:-1], 6, rng)
    return np.sum(np.abs(rotated / radii) ** 2.4, axis=-1) < 1 + 0.35 * waves


def vein_angles(rng: np.random.Generator) -> Field:
    """Directions in the plane of two to four veins, well apart."""
    count = int(rng.integers(2, 5))
    return rng.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(-0.4, 0.4, count)


def vein(points: Field, centre: Field, angle: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A tapering tube along a quadratic Bezier curve from ``centre`` outwards."""
    bend = angle + rng.uniform(-0.9, 0.9)
    middle = centre + 0.38 * np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.6, 0.6)])
    end = middle + 0.32 * np.array([np.cos(bend), np.sin(bend), rng.uniform(-0.8, 0.8)])
    inside = np.zeros(points.shape[:-1], bool)
    for t in np.linspace(0, 1, 24):
        place = (1 - t) ** 2 * centre + 2 * t * (1 - t) * middle + t**2 * end
        distance = np.linalg.norm((points - place) * [1, 1, 0.45], axis=-1)  # slices are thicker than pixels
        inside |= distance < 0.13 - 0.055 * t
    return inside


def body(points: Field, rng: np.random.Generator) -> Field:
    """Air, a rim of fat, muscle, and two dark lungs with bright vessels."""
    x, y = points[..., 0], points[..., 1]
    radius = np.hypot(x / rng.uniform(0.95, 1.1), y / rng.uniform(0.82, 0.95))
    tissue = np.select([radius > 1, radius > 0.9], [AIR, FAT], MUSCLE)
    vessels = smooth_noise(points.shape[:-1], 1.2, rng) > 1.6
    for side in (-1, 1):
        lung = np.hypot((x - side * rng.uniform(0.66, 0.8)) / 0.22, (y + rng.uniform(-0.2, 0.2)) / 0.5) < 1
        tissue[lung & (radius < 0.88)] = LUNG
        tissue[lung & (radius < 0.88) & vessels] = 0.6
    return tissue


def add_neighbours(
    tissue: Field, points: Field, centre: Field, atrium: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    """Paint a second chamber and a great vessel, parted from the atrium by a thin dark wall, in place."""
    wall = binary_dilation(atrium, iterations=1)
    tissue[wall] = 0.8 * MUSCLE
    away = centre + np.array([rng.uniform(0.35, 0.5), rng.uniform(-0.55, -0.3), rng.uniform(-0.2, 0.2)])
    ventricle = chamber(points, away, rng.uniform([0.22, 0.2, 0.6], [0.36, 0.3, 1.0]), rng)
    beside = centre + np.array([rng.uniform(-0.1, 0.15), rng.uniform(0.42, 0.52), 0.0])
    vessel = np.linalg.norm((points - beside)[..., :2], axis=-1) < rng.uniform(0.1, 0.15)
    for neighbour in (ventricle, vessel):
        tissue[neighbour & ~wall] = rng.uniform(0.62, 0.86)


def acquired(tissue: Field, rng: np.random.Generator) -> NDArray[np.float32]:
    """What a scanner makes of the tissue: texture, partial volume, bias field, Rician noise; then z-scored."""
    textured = tissue * (1 + 0.10 * smooth_noise(tissue.shape, 1.5, rng))
    blurred = gaussian_filter(textured, (0.8, 0.8, 0.4))
    biased = blurred * np.exp(0.28 * smooth_noise(tissue.shape, 18, rng))
    sigma = rng.uniform(0.06, 0.11)
    noisy = np.hypot(biased + sigma * rng.standard_normal(tissue.shape), sigma * rng.standard_normal(tissue.shape))
    return ((noisy - noisy.mean()) / noisy.std()).astype(np.float32)


def smooth_noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Field:
    """Gaussian noise of unit variance that varies over ``scale`` pixels in plane and a quarter of it across slices."""
    noise = gaussian_filter(rng.standard_normal(shape), (scale, scale, scale / 4), mode="reflect")
    return (noise - noise.mean()) / noise.std()
