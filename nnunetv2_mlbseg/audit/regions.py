"""Connected regions of suspected errors: where, how large, of what kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dataset_conversion.raw.geometry import Grid

KINDS = ("missing", "surplus", "boundary", "other class")
NEIGHBOURS = np.ones((3, 3, 3), bool)  # voxels that share a corner are connected


@dataclass(frozen=True)
class Region:
    """A connected set of voxels with one given class and one proposed class.

    Attributes:
        kind: "missing": an object the label lacks; "surplus": one it should not have; "boundary": the label should
            reach further out or less far; "other class": foreground of one class proposed where another is given.
        given, proposed: The classes.
        shift_mm: For a boundary, how far it should move at the region's deepest voxel: above 0 outwards, below 0
            inwards. None otherwise.
        size_mm3: Volume.
        voxels: Number of voxels.
        centroid_mm: In ITK's coordinates (x, y, z): towards the left, the back and the head of a patient.
        worst_slice: The slice with most of its voxels, counted from 0.
        slices: First and last slice.
        suspicion: Mean over its voxels.
    """

    kind: str
    given: int
    proposed: int
    shift_mm: float | None
    size_mm3: float
    voxels: int
    centroid_mm: tuple[float, ...]
    worst_slice: int
    slices: tuple[int, int]
    suspicion: float


def find_regions(
    given: NDArray[np.int64],
    proposed: NDArray[np.int64],
    suspicion: NDArray[np.floating],
    grid: Grid,
    *,
    axis: int = 0,
    smallest_mm3: float = 0.0,
) -> list[Region]:
    """All regions where the two labels differ, largest first.

    Args:
        given, proposed: (Z, Y, X); voxels with a negative given label are left out.
        suspicion: (Z, Y, X).
        grid: Where the voxels lie, three axes.
        axis: Which axis counts the slices.
        smallest_mm3: Smaller regions are left out.
    """
    differs = (given >= 0) & (given != proposed)
    found = [
        region
        for n, p in sorted(set(zip(given[differs].tolist(), proposed[differs].tolist(), strict=True)))
        for region in _of_kind(n, p, given, proposed, suspicion, grid, axis, smallest_mm3)
    ]
    return sorted(found, key=lambda region: -region.voxels)


def _of_kind(
    n: int,
    p: int,
    given: NDArray[np.int64],
    proposed: NDArray[np.int64],
    suspicion: NDArray[np.floating],
    grid: Grid,
    axis: int,
    smallest_mm3: float,
) -> Iterator[Region]:
    components, count = ndimage.label((given == n) & (proposed == p), NEIGHBOURS)
    sizes = np.bincount(components.ravel(), minlength=count + 1)
    anchor = _anchor(n, p, given, proposed)
    depth = _distance_mm(anchor, grid) if anchor is not None else None
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        if sizes[number] * grid.voxel_mm3 < smallest_mm3:
            continue
        where = np.argwhere(components[box] == number) + [part.start for part in box]
        kind, shift = _kind_and_shift(n, p, where, anchor, depth)
        along, amounts = np.unique(where[:, axis], return_counts=True)
        yield Region(
            kind=kind,
            given=n,
            proposed=p,
            shift_mm=shift,
            size_mm3=float(sizes[number] * grid.voxel_mm3),
            voxels=int(sizes[number]),
            centroid_mm=tuple(grid.place_mm(where.mean(axis=0)[::-1]).tolist()),
            worst_slice=int(along[amounts.argmax()]),
            slices=(int(along[0]), int(along[-1])),
            suspicion=float(suspicion[tuple(where.T)].mean(dtype=np.float64)),
        )


def _anchor(n: int, p: int, given: NDArray[np.int64], proposed: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """The object whose boundary may have to move: what is labelled already, or what is left of it."""
    if n != 0 and p != 0:
        return None
    return (given == p) if n == 0 else (proposed == n)


def _distance_mm(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64] | None:
    """Distance of every voxel's centre to the nearest one in the mask; None if it is empty."""
    return ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm[::-1]) if mask.any() else None


def _kind_and_shift(
    n: int,
    p: int,
    where: NDArray[np.int64],
    anchor: NDArray[np.bool_] | None,
    depth: NDArray[np.float64] | None,
) -> tuple[str, float | None]:
    if anchor is None:
        return "other class", None
    sign, alone = (1, "missing") if n == 0 else (-1, "surplus")
    if depth is None or not _touches(where, anchor):
        return alone, None
    return "boundary", sign * float(depth[tuple(where.T)].max())


def _touches(where: NDArray[np.int64], mask: NDArray[np.bool_]) -> bool:
    """Whether a voxel of the mask is a neighbour of one of the voxels (N, 3)."""
    low = np.maximum(where.min(axis=0) - 1, 0)
    box = tuple(slice(start, stop + 2) for start, stop in zip(low, where.max(axis=0), strict=True))
    own = np.zeros(mask[box].shape, bool)
    own[tuple((where - low).T)] = True
    return bool((ndimage.binary_dilation(own, NEIGHBOURS) & mask[box]).any())
