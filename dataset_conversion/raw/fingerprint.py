"""What a scan looks like around its label, in few numbers that cropping, shifting and rescaling leave nearly alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Samples along each axis of the label's bounding box.
SAMPLES = 24
# A label with fewer foreground voxels is so simple that two scans may well share it when its place is not looked at.
CHARACTERISTIC_VOXELS = 1000


@dataclass(frozen=True)
class Fingerprint:
    """Label (integers) and image at ``SAMPLES``^3 points of the label's bounding box, flattened.

    Of the image each class's mean is taken away, since scans of one organ resemble each other in those, and what is
    left is scaled to a standard deviation of 1.
    """

    label: np.ndarray
    image: np.ndarray

    def image_correlation(self, other: Fingerprint) -> float:
        """Correlation of the two images, -1 to 1."""
        return float(np.mean(self.image.astype(np.float32) * other.image.astype(np.float32)))

    def label_dice(self, other: Fingerprint) -> float:
        """Overlap of the two labels: ``2 |same class| / (|foreground| + |other foreground|)``."""
        same = np.count_nonzero((self.label == other.label) & (self.label > 0))
        return 2 * same / max(np.count_nonzero(self.label) + np.count_nonzero(other.label), 1)


def content_hash(array: np.ndarray) -> str:
    """Return a hash of shape and values, the same for the same numbers whatever file they came from."""
    digest = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Return a hash of a file's bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def foreground_box(label: np.ndarray) -> tuple[slice, ...] | None:
    """Return the bounding box of everything above 0, or None."""
    box = []
    for axis in range(label.ndim):
        hit = np.flatnonzero((label > 0).any(axis=tuple(other for other in range(label.ndim) if other != axis)))
        if not hit.size:
            return None
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(box)


def label_hash(label: np.ndarray) -> str:
    """Return a hash of a label: of its bounding box wherever that lies, or of all of it if it is small."""
    box = foreground_box(label)
    characteristic = box is not None and np.count_nonzero(label) >= CHARACTERISTIC_VOXELS
    return content_hash((label[box] if box and characteristic else label).astype(np.int32))


def fingerprint(image: np.ndarray, label: np.ndarray) -> Fingerprint | None:
    """Sample image and label (both (z, y, x)) in the label's box; None if it is small or the image is flat there."""
    box = foreground_box(label)
    if box is None or np.count_nonzero(label) < CHARACTERISTIC_VOXELS:
        return None
    lengths = [side.stop - side.start for side in box]
    points = np.ix_(*[((np.arange(SAMPLES) + 0.5) * length / SAMPLES).astype(int) for length in lengths])
    values = image[box][points].astype(np.float64).ravel()
    classes = label[box][points].astype(np.int16).ravel()
    for value in np.unique(classes):
        values[classes == value] -= values[classes == value].mean()
    if not np.isfinite(values).all() or values.std() == 0:
        return None
    return Fingerprint(classes, (values / values.std()).astype(np.float16))
