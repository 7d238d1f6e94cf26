"""Structure of predictions: which pixels of a window are alike, and how much every class contributes to the entropy."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32


def class_information(probabilities: Tensor) -> Tensor:
    """-p_c log p_c / log C of every class and pixel, (B, C, *S) to the same. Gradient flows, none where p is 0."""
    p = at_least_float32(probabilities)
    return -p * p.clamp_min(1e-20).log() / math.log(p.shape[1])


def window(maps: Tensor, place: Tensor, side: int) -> Tensor:
    """A window of maps, (B, C, *S) to (B, C, side, ...); no longer than the maps themselves along any axis.

    Args:
        place: one number from 0 to 1 for every spatial axis, on the maps' device: where it lies, from end to end.
    """
    for axis, at in enumerate(place, start=2):
        length = min(side, maps.shape[axis])
        first = (at * (maps.shape[axis] - length + 1)).floor().long().clamp_max(maps.shape[axis] - length)
        maps = maps.index_select(axis, first + torch.arange(length, device=maps.device))
    return maps


def likeness_distance(first: Tensor, second: Tensor) -> Tensor:
    """The mean over pairs of pixels of (G_mn - H_mn)^2, of every image: (B, C, *S) twice to (B,).

    G_mn is the cosine of the class vectors of pixels m and n in the first map, H_mn in the second. With the n unit
    vectors in the rows of A and B, G = A A^T, and |A A^T - B B^T|^2 = |A^T A|^2 - 2 |A^T B|^2 + |B^T B|^2. So the
    matrices of C x C are enough: those of n x n, 64 MiB for a window of 16^3, are never made.

    Gradient flows into the first.
    """
    a, b = (F.normalize(at_least_float32(one).flatten(2), dim=1) for one in (first, second.detach()))
    n = a.shape[2]
    products = [_squared_norm(x @ y.transpose(1, 2) / n) for x, y in ((a, a), (a, b), (b, b))]
    return products[0] - 2 * products[1] + products[2]


def _squared_norm(matrices: Tensor) -> Tensor:
    return matrices.square().sum(dim=(1, 2))
