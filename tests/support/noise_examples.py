"""Small made-up labels for the noise tests."""

from __future__ import annotations

import numpy as np

from noise_synthesis.recipes.smooth_noise import smooth_noise
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
