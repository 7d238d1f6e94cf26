"""Per-pixel cross-entropy with ignored pixels, weighted sums of it, labels at the scales of deep supervision.

Labels are int64 of shape (B, *S) with class indices; a negative label means "ignored".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.tensors import at_least_float32

IGNORE = -1
"""Label of a pixel that has no class; every other negative value means the same."""


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss L of Eq. 2, 4 and 9: cross-entropy of every pixel, in nats.

    Args:
        logits: (B, C, *S), any floating type; computed in float32 or better. Gradient flows into them.
        labels: (B, *S) int64, negative = ignored.

    Returns:
        (B, *S), never negative; 0 (and no gradient) where the label is ignored.
    """
    return F.cross_entropy(at_least_float32(logits), labels.clamp_min(IGNORE), ignore_index=IGNORE, reduction="none")


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """One of the two terms of Eq. 9: the sum over all pixels of weight times cross-entropy.

    Args:
        logits: (B, C, *S). Gradient flows into them.
        labels: (B, *S) int64, negative = ignored.
        weights: (B, *S), no unit. Taken as constants: no gradient flows into them.

    Returns:
        A scalar. With weights that sum to one it is a weighted mean in nats.
    """
    return (at_least_float32(weights.detach()) * pixel_cross_entropy(logits, labels)).sum()


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Labels at another scale, by the nearest-neighbour rule of nnU-Net's deep supervision ("nearest-exact").

    Args:
        labels: (B, *S) int64 (float32 must hold its values exactly: below 2**24); also a map of weights.
        size: the wanted spatial shape.

    Returns:
        (B, *size) of the same type; ``labels`` itself if the size is already right.
    """
    if tuple(labels.shape[1:]) == tuple(size):
        return labels
    resized = F.interpolate(labels.unsqueeze(1).float(), size=tuple(size), mode="nearest-exact")
    return resized.squeeze(1).to(labels.dtype)
