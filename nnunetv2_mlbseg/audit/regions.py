"""Regions of suspected errors: where, how large, of what kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dataset_conversion.raw.geometry import Grid

NEIGHBOURS = np.ones((3, 3, 3), bool)  # voxels that share a corner are connected
GROWN_MM = 2.5
"""Pieces of one kind that meet when each grows by this much within its slices are one region."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """Voxels of one kind, one given and one proposed class, that touch or lie close, in the same or the next slice.

    Attributes:
        kind: "missing": an object, or slices of one, that the label lacks; "surplus": one, or slices of one, that it
            should not have; "boundary": the label should reach further out or less far; "other class": foreground of
            one class proposed where another is given.
        whole_slices: Of what is missing or surplus: whether its class has nothing else on these slices.
        given, proposed: The classes.
        shift_mm: For a boundary, how far it should move at the region's deepest voxel: above 0 outwards, below 0
            inwards. None otherwise.
        mean_shift_mm: The same on average, within slices: volume over the area in which region and object meet.
        size_mm3: Volume.
        voxels: Number of voxels.
        centroid_mm: In ITK's coordinates (x, y, z): towards the left, the back and the head of a patient.
        worst_slice: The slice with most of its voxels, counted from 0.
        slices: First and last slice.
        suspicion: Mean over its voxels.
    """

    kind: str
    whole_slices: bool
    given: int
    proposed: int
    shift_mm: float | None
    mean_shift_mm: float | None
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
        for region in _of_classes(n, p, given, proposed, suspicion, grid, axis)
        if region.size_mm3 >= smallest_mm3
    ]
    return sorted(found, key=lambda region: -region.voxels)


def _of_classes(
    n: int,
    p: int,
    given: NDArray[np.int64],
    proposed: NDArray[np.int64],
    suspicion: NDArray[np.floating],
    grid: Grid,
    axis: int,
) -> Iterator[Region]:
    """The regions of one given and one proposed class."""
    anchor = _anchor(n, p, given, proposed)
    depth = None if anchor is None or not anchor.any() else _distance_mm(anchor, grid)
    for kind, whole, mask in _by_kind(n, (given == n) & (proposed == p), anchor, axis):
        together = _together(mask, grid, axis)
        for number, box in enumerate(ndimage.find_objects(together), start=1):
            where = np.argwhere((together[box] == number) & mask[box]) + [part.start for part in box]
            shift, mean_shift = None, None
            if kind == "boundary" and anchor is not None and depth is not None:
                sign, deepest = (1 if n == 0 else -1), float(depth[tuple(where.T)].max())
                shift, mean_shift = sign * deepest, sign * min(deepest, _thickness_mm(where, anchor, grid, axis))
            along, amounts = np.unique(where[:, axis], return_counts=True)
            yield Region(
                kind=kind,
                whole_slices=whole,
                given=n,
                proposed=p,
                shift_mm=shift,
                mean_shift_mm=mean_shift,
                size_mm3=float(len(where) * grid.voxel_mm3),
                voxels=len(where),
                centroid_mm=tuple(grid.place_mm(where.mean(axis=0)[::-1]).tolist()),
                worst_slice=int(along[amounts.argmax()]),
                slices=(int(along[0]), int(along[-1])),
                suspicion=float(suspicion[tuple(where.T)].mean(dtype=np.float64)),
            )


def _anchor(n: int, p: int, given: NDArray[np.int64], proposed: NDArray[np.int64]) -> Mask | None:
    """The object whose boundary may have to move: what is labelled already, or what is left of it."""
    if n != 0 and p != 0:
        return None
    return (given == p) if n == 0 else (proposed == n)


def _distance_mm(mask: Mask, grid: Grid) -> NDArray[np.float64]:
    """Distance of every voxel's centre to the nearest one in the mask."""
    found: NDArray[np.float64] = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm[::-1])
    return found


def _by_kind(n: int, differs: Mask, anchor: Mask | None, axis: int) -> Iterator[tuple[str, bool, Mask]]:
    """The voxels of every kind, and whether they are all that their class has on its slices."""
    if anchor is None:
        yield "other class", False, differs
        return
    alone = "missing" if n == 0 else "surplus"
    others = tuple(k for k in range(3) if k != axis)
    whole = differs & ~anchor.any(axis=others, keepdims=True)
    rest = differs & ~whole
    components, count = ndimage.label(rest, NEIGHBOURS)
    meets = np.zeros(count + 1, bool)
    meets[components[ndimage.binary_dilation(anchor, NEIGHBOURS)]] = True
    at_boundary = rest & meets[components]
    yield alone, True, whole
    yield "boundary", False, at_boundary
    yield alone, False, rest & ~at_boundary


def _together(mask: Mask, grid: Grid, axis: int) -> NDArray[np.int32]:
    """Numbers the voxels of a mask (and some beside them) from 1, the same number where they belong together."""
    found = np.zeros(mask.shape, np.int32)
    if not mask.any():
        return found
    spacing_mm = grid.spacing_mm[::-1]
    reach = [0 if k == axis else int(GROWN_MM // mm) for k, mm in enumerate(spacing_mm)]
    ends = [(index.min(), index.max()) for index in np.nonzero(mask)]
    box = tuple(slice(max(0, low - r), high + r + 1) for (low, high), r in zip(ends, reach, strict=True))
    far = 10 * GROWN_MM  # from slice to slice nothing grows
    sampling = [far if k == axis else mm for k, mm in enumerate(spacing_mm)]
    grown = ndimage.distance_transform_edt(~mask[box], sampling=sampling) <= GROWN_MM
    ndimage.label(grown, NEIGHBOURS, output=found[box])
    return found


def _thickness_mm(where: NDArray[np.int64], anchor: Mask, grid: Grid, axis: int) -> float:
    """Volume of voxels (N, 3) over the area of the faces that they share with an object in their slices.

    Infinite where they meet only at corners or from slice to slice.
    """
    low = np.maximum(where.min(axis=0) - 1, 0)
    box = tuple(slice(start, stop + 2) for start, stop in zip(low, where.max(axis=0), strict=True))
    own = np.zeros(anchor[box].shape, bool)
    own[tuple((where - low).T)] = True
    area_mm2 = 0.0
    for k, mm in enumerate(grid.spacing_mm[::-1]):
        if k != axis:
            ours, theirs = np.moveaxis(own, k, 0), np.moveaxis(anchor[box], k, 0)
            faces = (ours[1:] & theirs[:-1]).sum() + (ours[:-1] & theirs[1:]).sum()
            area_mm2 += float(faces) * grid.voxel_mm3 / mm
    return len(where) * grid.voxel_mm3 / area_mm2 if area_mm2 else float("inf")
