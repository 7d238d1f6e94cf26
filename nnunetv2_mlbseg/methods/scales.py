"""Losses at all scales of deep supervision, with nnU-Net's factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import Mixture, resize_labels
from nnunetv2_mlbseg.maths.losses import mixture_cross_entropy, mixture_dice_loss, pixel_cross_entropy
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


def dice_where(passes: Passes, outputs: Sequence[Tensor], labels: Tensor, counted: Tensor) -> Tensor:
    """1 - the soft Dice of the pixels that count and labels that were made for them; 0 where none does.

    Args:
        labels: ``(B, *S)`` int64.
        counted: ``(B, *S)`` bool.
    """
    every = torch.ones(len(labels), dtype=torch.bool, device=labels.device)

    def at(output: Tensor) -> Tensor:
        here = resize_labels(labels, output.shape[2:]), resize_labels(counted, output.shape[2:]).to(output.dtype)
        return mixture_dice_loss(output.softmax(dim=1), Mixture.of([here[0]], [here[1]]), every, passes.total)

    return over_scales(passes, outputs, at)


def soft_loss(passes: Passes, outputs: Sequence[Tensor], targets: Targets) -> Tensor:
    """Cross-entropy and Dice of labelled images with targets that are probabilities; for one process.

    With one-hot targets it has the gradient of nnU-Net's loss where that takes Dice over the batch.
    """
    counted, classes = targets.counted_of_labelled(), targets.probabilities.shape[1]
    weights = targets.probabilities * counted.unsqueeze(1)
    every = torch.ones(len(counted), dtype=torch.bool, device=counted.device)

    def at(output: Tensor) -> Tensor:
        here = F.interpolate(weights, size=output.shape[2:], mode="nearest-exact")
        numbers = torch.arange(classes, device=output.device).view(1, -1, *[1] * (output.ndim - 2)).expand(here.shape)
        probabilities, mixture = output.softmax(dim=1), Mixture(numbers, here)
        cross_entropy = mixture_cross_entropy(output, mixture, probabilities) / here.sum().clamp_min(1)
        return cross_entropy + mixture_dice_loss(probabilities, mixture, every)

    return over_scales(passes, outputs, at)
