"""Regions of suspected errors by group of classes: of exclusive classes all at once, of regions of a dataset each."""

from __future__ import annotations

import torch
from torch import Tensor

from dataset_conversion.raw.geometry import Grid
from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.audit.regions import Region, find_regions


def regions_of_groups(
    groups: LabelGroups,
    given: Tensor,
    likely: Tensor,
    suspicion: Tensor,
    grid: Grid,
    axis: int,
    smallest_mm3: float,
) -> tuple[Region, ...]:
    """Where a label is probably wrong, largest first.

    A region of a dataset is held against what is outside of it, whatever else is there: nested ones each have their own
    errors. It goes by the value that it is painted with.

    Args:
        given, likely: (G, Z, Y, X) int64, class indices; voxels with a negative given one are left out.
        suspicion: (G, Z, Y, X).
        axis: Which of Z, Y, X counts the slices.
        smallest_mm3: Smaller regions are left out.
    """
    found: list[Region] = []
    for group, doubt in enumerate(suspicion):
        before, after = (_values(groups, group, one[group]).numpy() for one in (given, likely))
        found += find_regions(before, after, doubt.numpy(), grid, axis=axis, smallest_mm3=smallest_mm3)
    return tuple(sorted(found, key=lambda region: -region.voxels))


def _values(groups: LabelGroups, group: int, classes: Tensor) -> Tensor:
    """Class indices of a group as label values."""
    if groups.structures.order is None:
        return classes
    return torch.where(classes > 0, groups.structures.order[group], classes)
