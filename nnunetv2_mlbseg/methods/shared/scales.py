"""Losses at all scales of deep supervision, with nnU-Net's factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import Mixture, resize_labels
from nnunetv2_mlbseg.maths.losses import mixture_dice_loss, pixel_cross_entropy
from nnunetv2_mlbseg.maths.mixture_loss import mixture_loss
from nnunetv2_mlbseg.maths.soft_targets import Targets
from nnunetv2_mlbseg.maths.tensors import share_of_mean
from nnunetv2_mlbseg.training.passes import Passes


def over_scales(passes: Passes, outputs: Sequence[Tensor], term: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum over the scales of a term of each output, times the scale's factor; finest first."""
    terms = [factor * term(output) for factor, output in zip(passes.scale_factors, outputs, strict=True)]
    return torch.stack(terms).sum()


def cross_entropy(passes: Passes, outputs: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Mean cross-entropy of all pixels and labels ``(B, *S)`` that were made for them; this process's share."""

    def at(output: Tensor) -> Tensor:
        return share_of_mean(pixel_cross_entropy(output, resize_labels(labels, output.shape[2:])), passes.total)

    return over_scales(passes, outputs, at)


def dice_where(passes: Passes, outputs: Sequence[Tensor], labels: Tensor, counted: Tensor, groups: int = 1) -> Tensor:
    """1 - the soft Dice of the pixels that count and labels that were made for them; 0 where none does.

    Args:
        labels: ``(B*G, *S)`` int64.
        counted: ``(B*G, *S)`` bool.
        groups: G, each with a Dice of its own (see `maths/label_space`).
    """
    every = torch.ones(len(labels), dtype=torch.bool, device=labels.device)

    def at(output: Tensor) -> Tensor:
        here = resize_labels(labels, output.shape[2:]), resize_labels(counted, output.shape[2:]).to(output.dtype)
        return mixture_dice_loss(output.softmax(dim=1), Mixture.of([here[0]], [here[1]]), every, passes.total, groups)

    return over_scales(passes, outputs, at)


def soft_loss(passes: Passes, outputs: Sequence[Tensor], targets: Targets) -> Tensor:
    """Cross-entropy and Dice of labelled images with targets that are probabilities; this process's share.

    With one-hot targets it has the gradient of nnU-Net's loss where that takes Dice over the batch.
    """
    weights = targets.probabilities * targets.counted_of_labelled().unsqueeze(1)
    numbers = torch.arange(weights.shape[1], device=weights.device).view(1, -1, *[1] * (weights.ndim - 2))
    return mixture_loss(outputs, Mixture(numbers.expand(weights.shape), weights), passes.scale_factors, passes.total)
