"""Per-pixel cross-entropy with ignored pixels, weighted sums of it, and the Dice of a mixture of labels.

Labels are int64 of shape (B, *S) with class indices; a negative label means "ignored".
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from nnunetv2_mlbseg.maths.labels import IGNORE, Mixture
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, sums_of_products, unchanged

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
    return mixture_cross_entropy(logits, Mixture.of([labels], [weights]))


def mixture_cross_entropy(logits: Tensor, mixture: Mixture, probabilities: Tensor | None = None) -> Tensor:
    """The sum of :func:`weighted_cross_entropy` over several labels of the same pixels, at the cost of one.

    Args:
        logits: (B, C, *S). Gradient flows into them, once; a second derivative is not there.
        mixture: K labels of every pixel.
        probabilities: (B, C, *S), the softmax of the logits, where the caller has it; no gradient flows into it.
    """
    logits = at_least_float32(logits)
    known = logits.detach().softmax(dim=1) if probabilities is None else probabilities.detach()
    found: Tensor = _MixtureCrossEntropy.apply(logits, known, mixture.labels, mixture.weights.to(logits.dtype))
    return found


class _MixtureCrossEntropy(torch.autograd.Function):
    """Of logits and their softmax (B, C, *S); K labels and weights of every pixel (B, K, *S), weight 0 = ignored."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, probabilities: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """log sum exp is the largest logit less the logarithm of the largest probability, of the same class."""
        ctx.save_for_backward(probabilities, labels, weights)
        below = logits.amax(dim=1, keepdim=True) - logits.gather(1, labels)
        return (weights * (below - probabilities.amax(dim=1, keepdim=True).log())).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """softmax times the sum of the weights, less each weight at its label."""
        probabilities, labels, weights = ctx.saved_tensors
        weights = weights * gradient
        found = probabilities * weights.sum(dim=1, keepdim=True)
        return found.scatter_add_(1, labels, -weights), None, None, None


def mixture_dice_loss(
    probabilities: Tensor, mixture: Mixture, counted: Tensor, total: Total = unchanged, groups: int = 1
) -> Tensor:
    """1 - the soft Dice of the network's probabilities and the mixture of several labels, over the whole batch.

    A pixel's mixture gives every class the share of the pixel's weight that its labels have. Dice is that of nnU-Net's
    loss (2 I + s) / (S + s) with s = 1e-5, I the sum of products, S the sum of both, mean over the foreground classes.

    Args:
        probabilities: (B, C, *S). Gradient flows into them.
        mixture: K labels of every pixel. Pixels without any weight do not count.
        counted: (B,) bool, which images count; without one the loss is 0.
        total: sums over the processes that share a batch.
        groups: how many groups an image has; each has a Dice of its own.

    Returns:
        A scalar from 0 to 1; where processes share the batch, a share of it. The gradient is that of this process's
        images in the loss of the whole batch.
    """
    probabilities = at_least_float32(probabilities)
    counted = counted.view(-1, *[1] * (mixture.weights.ndim - 1))
    parts = torch.where(counted, mixture.weights.to(probabilities.dtype), 0.0)
    whole = parts.sum(dim=1, keepdim=True)
    shares = parts / whole.clamp_min(torch.finfo(whole.dtype).tiny)
    sums = overlap(probabilities, mixture.labels, shares).unflatten(1, (-1, groups)).sum(dim=1)
    sums = total(sums.detach()) + sums - sums.detach()  # the batch's value, this process's gradient
    dice = (2 * sums[0] + DICE_SMOOTH) / (sums[1] + DICE_SMOOTH)
    loss = 1 - dice[:, 1:].mean()
    return loss - loss.detach() + loss.detach() / total(loss.new_ones(()))


def overlap(probabilities: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    """What Dice is made of: the sums over pixels of products, and of both, of probabilities and a mixture of K labels.

    The mixture itself is not made, one value for each class: of its C values at a pixel at most K are not 0.

    Args:
        probabilities: (B, C, *S). Gradient flows into them.
        labels: (B, K, *S) int64.
        shares: (B, K, *S), of every label; they add up to 1, or to 0 where a pixel does not count.

    Returns:
        (2, B, C): products; sums.
    """
    inside = (shares.sum(dim=1, keepdim=True) > 0).to(shares.dtype)
    found: Tensor = _Overlap.apply(probabilities, labels, shares, inside)
    return found


class _Overlap(torch.autograd.Function):
    """As :func:`overlap`; with 1 or 0 for pixels that count, (B, 1, *S)."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, labels: Tensor, shares: Tensor, inside: Tensor) -> Tensor:
        ctx.save_for_backward(labels, shares, inside)
        classes = probabilities.shape[1]
        products = _by_class(labels, probabilities.gather(1, labels) * shares, classes)
        return torch.stack([products, sums_of_products(probabilities, inside) + _by_class(labels, shares, classes)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        labels, shares, inside = ctx.saved_tensors
        found = inside * gradient[1].view(*gradient[1].shape, *[1] * (inside.ndim - 2))
        of_labels = gradient[0].gather(1, labels.flatten(1)).view(labels.shape)
        return found.scatter_add_(1, labels, of_labels * shares), None, None, None


def _by_class(labels: Tensor, values: Tensor, classes: int) -> Tensor:
    """Sums (B, C) of values by their labels, (B, K, *S) each."""
    sums = values.new_zeros(len(values), classes)
    return sums.scatter_add_(1, labels.flatten(1), values.flatten(1))
