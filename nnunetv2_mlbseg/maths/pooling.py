"""Means of feature maps over parts of an image, for heads that compare images or regions."""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor


def means_of_halves(maps: Tensor) -> Tensor:
    """The means of every half along each axis, (B, F, 2, 2) or (B, F, 2, 2, 2).

    The mean over a whole image says little after instance normalisation, which makes it nearly the same for all.
    """
    return F.adaptive_avg_pool2d(maps, 2) if maps.ndim == 4 else F.adaptive_avg_pool3d(maps, 2)


def means_of_regions(maps: Tensor, size: int) -> Tensor:
    """The means of regions of ``size`` pixels along every axis, side by side; what is left over at the end is none."""
    return F.avg_pool2d(maps, size) if maps.ndim == 4 else F.avg_pool3d(maps, size)


@cache
def nearest_regions(grid: tuple[int, ...], count: int, device: torch.device | str = "cpu") -> Tensor:
    """For each region of a grid, flattened, the ``count`` others that are nearest: (regions, count) int64.

    Of equally near ones those with the lower number; fewer where there are not so many. The result is kept for the next
    call, so nobody may change it.
    """
    places = torch.tensor(list(product(*map(range, grid))), dtype=torch.float64)
    far = torch.cdist(places, places)
    far.fill_diagonal_(float("inf"))
    return far.argsort(dim=1, stable=True)[:, : min(count, len(places) - 1)].to(device)
