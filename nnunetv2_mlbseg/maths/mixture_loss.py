"""nnU-Net's kind of loss towards several labels at once: cross-entropy and Dice at all scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import Mixture, resize_labels
from nnunetv2_mlbseg.maths.losses import mixture_cross_entropy, mixture_dice_loss
from nnunetv2_mlbseg.maths.tensors import Total, unchanged


def mixture_loss(
    outputs: Sequence[Tensor], mixture: Mixture, factors: Sequence[float], total: Total = unchanged
) -> Tensor:
    """Mean cross-entropy over the pixels that have a label, plus 1 - Dice of the whole batch, summed over the scales.

    Cross-entropy towards a blend of labels is the blend of two; Dice is not.

    Args:
        outputs: logits (B, C, *S) of every scale, finest first. Gradient flows into them.
        mixture: at the finest scale. A pixel's weights add up to 1, or to 0 where it does not count.
        factors: of the scales.
        total: sums over the processes that share a batch; the result is then this process's share.
    """
    losses = []
    for logits, factor in zip(outputs, factors, strict=True):
        here, p = resized(mixture, logits.shape[2:]), logits.softmax(dim=1)
        pixels = total(here.weights.sum()).clamp_min(1)
        every_image = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        dice = mixture_dice_loss(p, here, every_image, total)
        losses.append(factor * (mixture_cross_entropy(logits, here, p) / pixels + dice))
    return torch.stack(losses).sum()


def resized(mixture: Mixture, size: Sequence[int]) -> Mixture:
    """Labels and weights at another scale, by the nearest-neighbour rule of nnU-Net's deep supervision."""
    labels, weights = (resize_labels(one.flatten(0, 1), size).view(*one.shape[:2], *size) for one in mixture)
    return Mixture(labels, weights)
