"""How deep a pixel lies within its own label, in a few levels.

People and algorithms that draw a structure too large or too small err at its border: the label of a pixel deep inside,
or far outside, is right far more often than one beside the border. A level of depth tells the two apart.
"""

from __future__ import annotations

import math
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
def depth_levels(labels: Tensor, flat: bool = False, sides: Sequence[float] | None = None) -> Tensor:
    """The level of every pixel: the last of :data:`DEPTHS` that its depth reaches.

    The depth of a pixel is its chessboard distance to the nearest pixel of another class. Pixels without a label and
    beyond the frame belong to no class: they count for nothing.

    Args:
        labels: (B, *S) int64, negative = no label; *S has two or three dimensions.
        flat: leave out neighbours along the first of three dimensions.
        sides: of a pixel, in those pixels that depth counts, one for every dimension; None: 1 each. Then the depth of
            a pixel is that of the counted pixel that its centre lies in.

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
            side = 1.0 if sides is None else sides[axis]
            extremes = _largest_along(extremes, axis, _reach(depth, side) - _reach(before, side))
        level += extremes[:, 0] == -extremes[:, 1]
    return level


def _reach(depth: int, side: float) -> int:
    """How many pixels around one of that ``side`` are of its class where its depth is ``depth`` counted pixels.

    The centre of the m-th pixel from a border is (m - 1/2) ``side`` away from it, and the ``depth``-th counted one
    begins at ``depth`` - 1.
    """
    return math.ceil((depth - 1) / side + 0.5) - 1


def _largest_along(maps: Tensor, axis: int, reach: int) -> Tensor:
    """The largest value within ``reach`` steps along one spatial axis."""
    if reach == 0:
        return maps
    pool = F.max_pool2d if maps.ndim == 4 else F.max_pool3d
    steps = [reach if each == axis else 0 for each in range(maps.ndim - 2)]
    return pool(maps, [2 * step + 1 for step in steps], stride=1, padding=steps)


def is_flat(shape: Sequence[int]) -> bool:
    """Whether patches of this spatial shape are stacks of slices far apart, as nnU-Net judges it."""
    return len(shape) == 3 and max(shape) / shape[0] > LARGEST_ASPECT
