"""Contrast of regions within an image (Chaitanya et al., NeurIPS 2020): a region is told apart from its neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32


def local_contrast(first: Tensor, second: Tensor, chosen: Tensor, neighbours: Tensor, temperature: float) -> Tensor:
    """-log e^(a b / t) / (e^(a b / t) + sum_k e^(a k / t)) with cosines, mean over regions, images and both directions.

    a and b are a region in two views of equal places, k its neighbours in both.

    Args:
        first, second: (B, D, regions). Gradient flows into both.
        chosen: (R,) int64, the regions that are told apart.
        neighbours: (regions, K) int64, see :func:`~nnunetv2_mlbseg.maths.pooling.nearest_regions`.
        temperature: t, above 0.

    Returns:
        A scalar; 0 where there is no neighbour.
    """
    a, b = (F.normalize(at_least_float32(one), dim=1) for one in (first, second))
    return (_one_way(a, b, chosen, neighbours, temperature) + _one_way(b, a, chosen, neighbours, temperature)) / 2


def _one_way(anchors: Tensor, others: Tensor, chosen: Tensor, neighbours: Tensor, temperature: float) -> Tensor:
    near, anchor = neighbours[chosen], anchors[:, :, chosen]
    own = (anchor * others[:, :, chosen]).sum(dim=1, keepdim=True)  # (B, 1, R)
    apart = [(anchor.unsqueeze(3) * one[:, :, near]).sum(dim=1).transpose(1, 2) for one in (anchors, others)]
    similar = [part / temperature for part in (own, *apart)]  # (B, 1 or K, R)
    return (torch.cat(similar, dim=1).logsumexp(dim=1, keepdim=True) - similar[0]).mean()
