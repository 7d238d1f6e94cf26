"""Per-pixel cross-entropy with ignored pixels, weighted sums of it, and the Dice of a mixture of labels.

Labels are int64 of shape (B, *S) with class indices; a negative label means "ignored".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged

DICE_SMOOTH = 1e-5
"""As in nnU-Net's loss: a class that is neither expected nor predicted has a Dice of 1."""


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


def mixture_dice_loss(
    logits: Tensor,
    labels: Sequence[Tensor],
    weights: Sequence[Tensor],
    counted: Tensor,
    total: Total = unchanged,
) -> Tensor:
    """1 - the soft Dice of the network's probabilities and the mixture of several labels, over the whole batch.

    A pixel's mixture gives every class the share of the pixel's weight that its labels have. Dice is that of nnU-Net's
    loss (2 I + s) / (S + s) with s = 1e-5, I the sum of products, S the sum of both, mean over the foreground classes.

    Args:
        logits: (B, C, *S). Gradient flows into them.
        labels: of (B, *S) int64 each, negative = ignored.
        weights: of (B, *S) each, no unit. No gradient flows into them; pixels without any weight do not count.
        counted: (B,) bool, which images count; without one the loss is 0.
        total: sums over the processes that share a batch.

    Returns:
        A scalar from 0 to 1; where processes share the batch, a share of it. The gradient is that of this process's
        images in the loss of the whole batch.
    """
    probabilities = at_least_float32(logits).softmax(dim=1)
    counted = counted.view(-1, *[1] * (labels[0].ndim - 1))
    parts = [torch.where(counted, weight.detach().to(probabilities.dtype), 0.0) for weight in weights]
    whole = torch.stack(parts).sum(dim=0)
    inside = (whole > 0).unsqueeze(1)
    target = torch.zeros_like(probabilities)
    for label, part in zip(labels, parts, strict=True):
        target = target.scatter_add(1, label.clamp_min(0).unsqueeze(1), part.unsqueeze(1))
    target = torch.where(inside, target / whole.clamp_min(torch.finfo(whole.dtype).tiny).unsqueeze(1), 0.0)
    probabilities = torch.where(inside, probabilities, 0.0)
    over = [0, *range(2, logits.ndim)]
    sums = torch.stack([(probabilities * target).sum(over), (probabilities + target).sum(over)])
    sums = total(sums.detach()) + sums - sums.detach()  # the batch's value, this process's gradient
    dice = (2 * sums[0] + DICE_SMOOTH) / (sums[1] + DICE_SMOOTH)
    loss = 1 - dice[1:].mean()
    return loss - loss.detach() + loss.detach() / total(loss.new_ones(()))
