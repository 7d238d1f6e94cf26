"""Means over some of the pixels of a batch, without a shape that depends on how many there are."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import Total, unchanged


def mean_where(counted: Tensor, values: Tensor, total: Total = unchanged) -> Tensor:
    """The mean of ``values`` over the pixels that count, 0 where there are none.

    Args:
        counted: Bool, of the shape of ``values``.
        values: Gradient flows into those that count. Others may be NaN, but not their gradient.
        total: Sums over the processes that share a batch; the result is then this process's share.
    """
    there = total(counted.sum()).clamp_min(1)
    return torch.where(counted, values, 0.0).sum() / there
