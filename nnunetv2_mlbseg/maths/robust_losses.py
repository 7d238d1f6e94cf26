"""Losses that a wrong label can pull less: generalised and symmetric cross-entropy, noise-robust Dice.

Labels are int64 of shape (B, *S) with class indices; a negative label means "ignored".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.losses import DICE_SMOOTH, pixel_cross_entropy
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged


def generalised_cross_entropy(logits: Tensor, labels: Tensor, exponent: float) -> Tensor:
    """(1 - p_y^q) / q of every pixel (Zhang and Sabuncu, NeurIPS 2018).

    Cross-entropy for q towards 0; 1 - p_y, which no wrong label can pull hard, for q = 1.

    Args:
        logits: (B, C, *S). Gradient flows into them.
        labels: (B, *S) int64, negative = ignored.
        exponent: q, above 0 and at most 1.

    Returns:
        (B, *S), from 0 to 1/q; 0 (and no gradient) where the label is ignored.
    """
    powers = (-exponent * pixel_cross_entropy(logits, labels)).expm1()
    return -powers / exponent


def symmetric_cross_entropy(
    logits: Tensor, labels: Tensor, forward: float, reverse: float, log_zero: float = -4.0
) -> Tensor:
    """a CE(y, p) + b CE(p, y) of every pixel (Wang et al., ICCV 2019).

    The second one has the label inside of the logarithm. With log 0 taken as A it is -A (1 - p_y).

    Args:
        logits: (B, C, *S). Gradient flows into them.
        labels: (B, *S) int64, negative = ignored.
        forward, reverse: a and b.
        log_zero: A, below 0.

    Returns:
        (B, *S); 0 (and no gradient) where the label is ignored.
    """
    cross_entropy = pixel_cross_entropy(logits, labels)
    return forward * cross_entropy + reverse * log_zero * (-cross_entropy).expm1()


def robust_dice_loss(probabilities: Tensor, labels: Tensor, exponent: float = 1.5, total: Total = unchanged) -> Tensor:
    """sum |p - y|^g / sum (p + y), mean over the foreground classes (Wang et al., IEEE TMI 2020).

    Exponent 1 is 1 - Dice. The higher it is, the less do small differences at many pixels count beside large ones.
    A class that is neither expected nor predicted has 0.

    Args:
        probabilities: (B, C, *S). Gradient flows into them.
        labels: (B, *S) int64, negative = ignored: such a pixel is in no sum.
        exponent: g, 1 to 2.
        total: Sums over the processes that share a batch.

    Returns:
        A scalar from 0 to 1; where processes share the batch, a share of it. The gradient is that of this process's
        images in the loss of the whole batch.
    """
    probabilities = at_least_float32(probabilities)
    known = (labels >= 0).unsqueeze(1).to(probabilities.dtype)
    expected = torch.zeros_like(probabilities).scatter_(1, labels.clamp_min(0).unsqueeze(1), known)
    seen = probabilities * known
    sums = torch.stack([_by_class((seen - expected).abs().pow(exponent)), _by_class(seen + expected)])
    sums = total(sums.detach()) + sums - sums.detach()  # the batch's value, this process's gradient
    loss = (sums[0] / (sums[1] + DICE_SMOOTH))[1:].mean()
    return loss - loss.detach() + loss.detach() / total(loss.new_ones(()))


def _by_class(maps: Tensor) -> Tensor:
    """Sums of (B, C, *S), one for each class."""
    return maps.flatten(2).sum(dim=(0, 2))


def _mean(pixels: Tensor, labels: Tensor, total: Total) -> Tensor:
    """What pixels (B, *S) contribute to the mean over all that have a label."""
    return pixels.sum() / total((labels >= 0).sum()).clamp_min(1)


Robust = Callable[[Tensor, Tensor, Total], Tensor]
"""Of logits (B, C, *S), labels (B, *S) and the sum over processes: this process's share of a scalar."""


def _with_robust_dice(pixels: Callable[[Tensor, Tensor], Tensor]) -> Robust:
    """The mean of a loss of pixels, and noise-robust Dice: as in nnU-Net's loss, one of either kind."""

    def both(logits: Tensor, labels: Tensor, total: Total) -> Tensor:
        dice = robust_dice_loss(at_least_float32(logits).softmax(dim=1), labels, total=total)
        return _mean(pixels(logits, labels), labels, total) + dice

    return both


ROBUST: Mapping[str, Robust] = {
    "gce": _with_robust_dice(lambda logits, labels: generalised_cross_entropy(logits, labels, 0.7)),
    "sce": _with_robust_dice(lambda logits, labels: symmetric_cross_entropy(logits, labels, 0.1, 1.0)),
    "robust_dice": _with_robust_dice(pixel_cross_entropy),
}
"""By name, with the numbers of their papers. Alone, a robust cross-entropy of small structures finds none of them."""
