"""Boxes that are cut out of one image and pasted into another: how they are drawn, and the mixing.

A box is a pair of corner and side lengths in pixels, (B, D) each. All is drawn on the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnunetv2_mlbseg.networks.dropout import Uniform


def box_masks(corners: Tensor, sides: Tensor, size: Sequence[int]) -> Tensor:
    """True inside of the boxes: (B, D) and (B, D) in pixels to (B, *size) bool."""
    inside = torch.ones(len(corners), *size, dtype=torch.bool, device=corners.device)
    for axis, length in enumerate(size):
        places = torch.arange(length, device=corners.device)
        first = corners[:, axis : axis + 1]
        along = (places >= first) & (places < first + sides[:, axis : axis + 1])
        inside &= along.view(len(corners), *[-1 if other == axis else 1 for other in range(len(size))])
    return inside


def boxes_of_share(count: int, size: Sequence[int], share: float, uniform: Uniform) -> Tensor:
    """Boxes of a share of each side, anywhere in the image (Bai et al., CVPR 2023, with two thirds).

    Args:
        uniform: Draws where they are.

    Returns:
        (count, *size) bool, True inside.
    """
    sides = torch.tensor([int(share * length) for length in size])
    return _placed(sides.expand(count, -1), size, uniform((count, len(size))))


def boxes_of_area(
    count: int, size: Sequence[int], area: tuple[float, float], ratio: float, chance: float, uniform: Uniform
) -> Tensor:
    """CutMix's boxes as UniMatch draws them (Yang et al., CVPR 2023), for images of any number of dimensions.

    Deviations: ratios are drawn on a logarithmic scale; a box that would not fit is cut, not drawn anew.

    Args:
        area: Least and largest share of the image's area or volume.
        ratio: The largest one of two sides of a box, each in units of the image's.
        chance: Of an image to have a box at all.
        uniform: Draws size, sides, place, and whether there is one.

    Returns:
        (count, *size) bool, True inside.
    """
    dims = len(size)
    volume = area[0] + (area[1] - area[0]) * uniform((count, 1))
    stretch = (uniform((count, dims)) - 0.5) * math.log(ratio)
    relative = volume ** (1 / dims) * (stretch - stretch.mean(dim=1, keepdim=True)).exp()
    lengths = torch.tensor(list(size)).to(relative.device, non_blocking=True)
    sides = torch.minimum((relative * lengths).round().long().clamp_min(1), lengths)
    there = uniform((count,)) < chance
    return _placed(sides, size, uniform((count, dims))) & there.view(-1, *[1] * dims)


def _placed(sides: Tensor, size: Sequence[int], drawn: Tensor) -> Tensor:
    """At the place that numbers from 0 to 1 choose among those where a box lies inside of the image."""
    sides = sides.to(drawn.device, non_blocking=True)
    room = torch.tensor(list(size)).to(drawn.device, non_blocking=True) - sides + 1
    return box_masks((drawn * room).long().minimum(room - 1), sides, size)


def pasted(inside: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
    """``inner`` where the mask (B, *S) is True, ``outer`` elsewhere; maps (B, *S) or with channels (B, C, *S)."""
    mask = inside if inner.ndim == inside.ndim else inside.unsqueeze(1)
    return torch.where(mask, inner, outer)
