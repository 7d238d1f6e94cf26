"""Overlap and surface distances between two binary masks, as the LA and PROMISE12 literature defines them.

The definitions are MedPy's (``medpy.metric.binary``), which most published numbers rest on: the surface of a mask is
its voxels with a face neighbour outside (the outside of the image counts as outside), and distances run between the
centres of surface voxels. scipy computes them: ``binary_erosion`` finds the surfaces, a k-d tree the nearest points.

Empty masks, where MedPy raises or divides by zero:

===================  =============  =========
prediction / truth   Dice, Jaccard  distances
===================  =============  =========
both empty           1              0
one of them empty    0              NaN: there is no surface to measure to
===================  =============  =========
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two surfaces, in the unit of the spacing they were computed with."""

    hd: float  # Hausdorff distance: the largest distance, either way
    hd95: float  # 95th percentile of the distances of both ways taken together
    asd: float  # average distance from the prediction's surface to the truth's, one way (the LA literature's ASD)
    assd: float  # average symmetric surface distance: mean over both ways taken together


@dataclass(frozen=True)
class Scores:
    """All measures of one class in one case."""

    dice: float
    jaccard: float
    voxels: SurfaceDistances
    mm: SurfaceDistances


def dice(prediction: Mask, truth: Mask) -> float:
    """Dice coefficient 2|A n B| / (|A| + |B|) in [0, 1]; 1 if both masks are empty."""
    total = np.count_nonzero(prediction) + np.count_nonzero(truth)
    return 2.0 * np.count_nonzero(prediction & truth) / total if total else 1.0


def mean_dice(
    labels: NDArray[np.integer], truth: NDArray[np.integer], classes: int | Sequence[tuple[int, ...]]
) -> float:
    """Mean over the foreground classes that either has; 1 where neither has any. Negative values are left out.

    Args:
        classes: Number of classes, background included; or the label values of every class or region.
    """
    known = (labels >= 0) & (truth >= 0)
    values_of = [(c,) for c in range(1, classes)] if isinstance(classes, int) else classes
    masks = [(_among(labels, own) & known, _among(truth, own) & known) for own in values_of]
    values = [dice(a, b) for a, b in masks if a.any() or b.any()]
    return float(np.mean(values)) if values else 1.0


def _among(labels: NDArray[np.integer], values: tuple[int, ...]) -> Mask:
    return labels == values[0] if len(values) == 1 else np.isin(labels, values)


def jaccard(prediction: Mask, truth: Mask) -> float:
    """Jaccard index |A n B| / |A u B| in [0, 1]; 1 if both masks are empty."""
    union = np.count_nonzero(prediction | truth)
    return np.count_nonzero(prediction & truth) / union if union else 1.0


def surface_points(mask: Mask) -> NDArray[np.int64]:
    """Indices ``(N, D)`` of the voxels of a mask ``(*S)`` that have a face neighbour outside it."""
    return np.argwhere(mask & ~binary_erosion(mask))


def surface_distances(prediction: Mask, truth: Mask, spacing: Sequence[float]) -> SurfaceDistances:
    """Distances between the surfaces of two masks ``(*S)``; ``spacing`` has one entry per axis of the arrays.

    Give the spacing in mm for mm, ones for voxels. See the head of this module for empty masks.
    """
    cropped_prediction, cropped_truth = _crop_to_content(prediction, truth)
    return _distances_between(surface_points(cropped_prediction), surface_points(cropped_truth), spacing)


def score(prediction: Mask, truth: Mask, spacing_mm: Sequence[float]) -> Scores:
    """All measures between two masks ``(*S)`` of the same shape, distances in voxels and in mm."""
    prediction, truth = _crop_to_content(prediction, truth)
    points, truth_points = surface_points(prediction), surface_points(truth)
    return Scores(
        dice=dice(prediction, truth),
        jaccard=jaccard(prediction, truth),
        voxels=_distances_between(points, truth_points, [1.0] * prediction.ndim),
        mm=_distances_between(points, truth_points, spacing_mm),
    )


def _distances_between(
    points: NDArray[np.int64], truth_points: NDArray[np.int64], spacing: Sequence[float]
) -> SurfaceDistances:
    if not len(points) and not len(truth_points):
        return SurfaceDistances(0.0, 0.0, 0.0, 0.0)
    if not len(points) or not len(truth_points):
        return SurfaceDistances(math.nan, math.nan, math.nan, math.nan)
    scale = np.asarray(spacing, dtype=np.float64)
    to_truth = _nearest(points * scale, truth_points * scale)
    to_prediction = _nearest(truth_points * scale, points * scale)
    both = np.concatenate([to_truth, to_prediction])
    return SurfaceDistances(
        hd=float(both.max()),
        hd95=float(np.percentile(both, 95)),
        asd=float(to_truth.mean()),
        assd=float(both.mean()),
    )


def _nearest(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance ``(N,)`` of each point ``(N, D)`` to the nearest target ``(M, D)``."""
    return cKDTree(targets).query(points)[0]


def _crop_to_content(prediction: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """Both masks in the smallest box that holds both. Exact: what lies outside of the box is empty either way."""
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of different shape: {prediction.shape} and {truth.shape}")
    content = np.argwhere(prediction | truth)
    if not len(content):
        return prediction, truth
    box = tuple(slice(low, high + 1) for low, high in zip(content.min(0), content.max(0), strict=True))
    return prediction[box], truth[box]
