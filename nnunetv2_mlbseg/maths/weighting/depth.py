"""How deep a pixel lies within its own label, in a few levels.

People and algorithms that draw a structure too large or too small err at its border: the label of a pixel deep inside,
or far outside, is right far more often than one beside the border. A level of depth tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

DEPTHS = (1, 2, 3, 4, 6, 9, 13, 19)
"""The least depth of every level, in pixels: 1 has a neighbour of another class, 2 is one step further from it. Beyond
the first few every level is half as wide again, so that a handful reach far into a large image."""

LEVELS = len(DEPTHS)

LARGEST_ASPECT = 3
"""Where the longest side of a patch is more than this many times its first one, slices are so far apart that a
neighbour in the next one says nothing of depth. nnU-Net's own bound (``ANISO_THRESHOLD``) for augmenting in 2D."""


@torch.no_grad()
def depth_levels(labels: Tensor, flat: bool = False) -> Tensor:
    """The level of every pixel: the last of :data:`DEPTHS` that its depth reaches.

    The depth of a pixel is its chessboard distance to the nearest pixel of another class. Pixels without a label and
    beyond the frame belong to no class: they count for nothing.

    Args:
        labels: (B, *S) int64, negative = no label; *S has two or three dimensions.
        flat: leave out neighbours along the first of three dimensions.

    Returns:
        (B, *S) int64, from 0 to LEVELS - 1.
    """
    dims = labels.ndim - 1
    values = labels.unsqueeze(1).to(torch.float32)
    # There is one class within reach where the largest (channel 0) and the smallest (channel 1, negated) are the same.
    extremes = torch.where(values >= 0, torch.cat([values, -values], dim=1), -torch.inf)
    level = torch.zeros_like(labels)
    for before, depth in pairwise(DEPTHS):
        for axis in range(dims - 2 if flat else 0, dims):
            extremes = _largest_along(extremes, axis, depth - before)
        level += extremes[:, 0] == -extremes[:, 1]
    return level


def _largest_along(maps: Tensor, axis: int, reach: int) -> Tensor:
    """The largest value within ``reach`` steps along one spatial axis."""
    pool = F.max_pool2d if maps.ndim == 4 else F.max_pool3d
    steps = [reach if each == axis else 0 for each in range(maps.ndim - 2)]
    return pool(maps, [2 * step + 1 for step in steps], stride=1, padding=steps)


def is_flat(shape: Sequence[int]) -> bool:
    """Whether patches of this spatial shape are stacks of slices far apart, as nnU-Net judges it."""
    return len(shape) == 3 and max(shape) / shape[0] > LARGEST_ASPECT
