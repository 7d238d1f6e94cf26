"""Mutual information of cluster assignments (Ji et al., ICCV 2019; Peng et al., MIDL 2020), in float32 or better.

Assignments are probabilities (B, H, K, *S): H independent sets of K clusters. No batch may be divided: the joint of
many clusters needs all of it.
"""

from __future__ import annotations

from itertools import product
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from nnunetv2_mlbseg.maths.tensors import at_least_float32

Index: TypeAlias = tuple[Any, ...]
"""Of a tensor: an ellipsis, and a slice for every spatial axis."""


def information_loss(first: Tensor, second: Tensor, displacement: int = 0) -> Tensor:
    """Minus the mutual information of two assignments of the same positions, in nats, mean over the H sets.

    Args:
        first, second: (B, H, K, *S). Gradient flows into both.
        displacement: Positions up to so many pixels apart are compared as well, each direction by itself; the result
            is the mean over directions.

    Returns:
        A scalar from -ln K to 0.
    """
    joints = [_joint_again(first[here], second[there]) for here, there in _overlaps(first.shape[3:], displacement)]
    return -torch.stack([mutual_information(one) for one in joints]).mean()


def _joint_again(first: Tensor, second: Tensor) -> Tensor:
    """:func:`joint`, computed once more for the gradient: else every displacement would keep a copy of both maps."""
    found: Tensor = checkpoint(joint, first, second, use_reentrant=False, preserve_rng_state=False)
    return found


def joint(first: Tensor, second: Tensor) -> Tensor:
    """How often clusters k and l meet, (H, K, K): symmetric, its sum is 1."""
    a, b = (at_least_float32(part).flatten(3).permute(1, 2, 0, 3).flatten(2) for part in (first, second))
    met = a @ b.transpose(1, 2)
    met = (met + met.transpose(1, 2)) / 2
    return met / met.sum(dim=(1, 2), keepdim=True)


def mutual_information(joint: Tensor) -> Tensor:
    """sum P log(P / (row sum * column sum)) of (H, K, K), mean over H; what never happens adds nothing."""
    tiny = torch.finfo(joint.dtype).tiny
    rows, columns = joint.sum(dim=2, keepdim=True), joint.sum(dim=1, keepdim=True)
    logs = [part.clamp_min(tiny).log() for part in (joint, rows, columns)]
    return (joint * (logs[0] - logs[1] - logs[2])).sum(dim=(1, 2)).mean()


def _overlaps(shape: torch.Size, displacement: int) -> list[tuple[Index, Index]]:
    """Where two maps of a shape overlap, for every displacement: an index for either."""
    steps = range(-displacement, displacement + 1)
    every = product(steps, repeat=len(shape))
    return [(_shown(shape, by), _shown(shape, tuple(-d for d in by))) for by in every]


def _shown(shape: torch.Size, by: tuple[int, ...]) -> Index:
    """What of a map is left when it is moved."""
    return (..., *(slice(max(0, d), size + min(0, d)) for d, size in zip(by, shape, strict=True)))
