"""Small made-up labels for the noise tests, drawn by hand or by chance, and the command within this process."""

from __future__ import annotations

import argparse

import numpy as np

from noise_synthesis import command
from noise_synthesis.recipes.smooth_noise import smooth_noise
from noise_synthesis.safe_io.command_line import run_command
from noise_synthesis.safe_io.volumes import Frame, LabelVolume

SPACING_MM = (3.0, 1.0, 1.0)


def blob(seed: int, classes: int = 1, ignore_label: int | None = None, dtype: str = "uint8") -> LabelVolume:
    """A rough blob about 24 mm wide in a volume of 12 x 48 x 52 voxels; two classes share it, a corner is ignored."""
    shape = (12, 48, 52)
    rng = np.random.default_rng(seed)
    frame = Frame((0, 0, 0), shape, SPACING_MM, per_slice=False)
    z, y, x = (np.arange(n) * step for n, step in zip(shape, SPACING_MM, strict=True))
    centre = np.array([17, 23, 26]) + rng.uniform(-3, 3, 3)
    radius_mm = rng.uniform(10, 14)
    distance = np.sqrt(
        (z[:, None, None] - centre[0]) ** 2 + (y[:, None] - centre[1]) ** 2 + (x[None, None] - centre[2]) ** 2
    )
    label = (radius_mm - distance + 2 * smooth_noise(rng, 6.0, shape, frame) > 0).astype(dtype)
    if classes == 2:
        label[(label > 0) & (x > centre[2])[None, None]] = 2
    if ignore_label is not None:
        label[:, :20, :24] = ignore_label
    return LabelVolume(label, SPACING_MM)


def blobs(count: int, **options: int) -> dict[str, LabelVolume]:
    """Several blobs by name."""
    return {f"case{seed:02d}": blob(seed, **options) for seed in range(count)}


def frame_of(shape: tuple, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), per_slice: bool = True) -> Frame:
    """The frame of an array that is its whole volume."""
    return Frame((0, 0, 0), shape, spacing, per_slice)


def drawn(*rows: str) -> np.ndarray:
    """One slice from rows of digits, '.' for background."""
    return np.array([[0 if c == "." else int(c) for c in row] for row in rows])[None]


def run_noise(*arguments: object) -> int:
    """``mlbseg noise`` within this process, as a terminal would run it."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return run_command(command.run, parser.parse_args([str(argument) for argument in arguments]))


def _touching(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An empty volume of 6 slices, and the distance of its pixels from the middle of the slice, a little moved."""
    rng = np.random.default_rng([7, seed])
    z, y, x = np.mgrid[:6, :40, :40]
    middle = 19.5 + rng.uniform(-1, 1, 2)
    return np.zeros((6, 40, 40), np.uint8), np.hypot(y - middle[0], x - middle[1]) + 0 * z, rng.uniform(-0.5, 0.5, 3)


def ring(seed: int, ignore_label: int | None = None) -> LabelVolume:
    """A disk (3) in a ring three pixels thick (2), and another disk (1) that touches the ring."""
    label, away, change = _touching(seed)
    _, y, x = np.mgrid[:6, :40, :40]
    label[np.hypot(y - 19.5, x - 6) < 6 + change[0]] = 1
    label[away < 10 + change[1] + change[2]] = 2
    label[away < 7 + change[1]] = 3
    return _with_corner(label, ignore_label)


def line(seed: int, ignore_label: int | None = None) -> LabelVolume:
    """A line two pixels thick (2) between two halves of a disk (1 and 3)."""
    label, away, change = _touching(seed)
    columns = np.arange(40)[None, None, :] + 0 * label
    inside = away < 11 + change[0]
    label[inside] = np.where(columns < 20, 1, 3)[inside]
    label[inside & (columns >= 19) & (columns < 21)] = 2
    return _with_corner(label, ignore_label)


def island(seed: int, ignore_label: int | None = None) -> LabelVolume:
    """A small blob (2) inside a large one (1), and one of a few voxels (3) at its border."""
    label, away, change = _touching(seed)
    z, y, x = np.mgrid[:6, :40, :40]
    label[away < 12 + change[0]] = 1
    label[(np.hypot(y - 17, x - 22) < 3 + change[1]) & (z > 0) & (z < 5)] = 2
    label[2:4, 18:21, 6:9] = 3
    return _with_corner(label, ignore_label)


def _with_corner(label: np.ndarray, ignore_label: int | None) -> LabelVolume:
    if ignore_label is not None:
        label[:, :16, 24:] = ignore_label
    return LabelVolume(label, SPACING_MM)


TOUCHING = {"ring": ring, "line": line, "island": island}
