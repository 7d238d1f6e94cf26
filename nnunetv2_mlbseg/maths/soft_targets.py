"""Targets that are probabilities: made from labels and predictions, blended, and compared with.

Some images are labelled, the others' targets are guessed; both have a loss of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.masked_mean import mean_where
from nnunetv2_mlbseg.maths.mixing import blended as mix
from nnunetv2_mlbseg.maths.sharpening import sharpened_mean
from nnunetv2_mlbseg.maths.tensors import at_least_float32


@dataclass(frozen=True)
class Targets:
    """Of a batch.

    Attributes:
        probabilities: (B, C, *S). No gradient flows into them.
        counted: (B, *S) bool, which pixels have a target.
        labelled: (B,) bool, which images have a label.
    """

    probabilities: Tensor
    counted: Tensor
    labelled: Tensor

    @classmethod
    def joined(cls, *parts: Targets) -> Targets:
        """Of several batches, that of all."""
        values = zip(*((part.probabilities, part.counted, part.labelled) for part in parts), strict=True)
        return cls(*map(torch.cat, values))

    def counted_of_labelled(self) -> Tensor:
        """Pixels (B, *S) that count in labelled images."""
        return self.counted & self._labelled()

    def distance_of_guessed(self, probabilities: Tensor) -> Tensor:
        """Mean squared distance from the targets of images without a label, over classes and pixels; 0 without any.

        Args:
            probabilities: (B, C, *S). Gradient flows into them.
        """
        apart = (probabilities - self.probabilities).square().mean(dim=1)
        return mean_where(self.counted & ~self._labelled(), apart)

    def _labelled(self) -> Tensor:
        return self.labelled.view(-1, *[1] * (self.counted.ndim - 1))


def one_hot(labels: Tensor, classes: int) -> Targets:
    """Labels (B, *S) int64, negative = ignored, as targets of labelled images."""
    numbers = torch.arange(classes, device=labels.device).view(1, -1, *[1] * (labels.ndim - 1))
    probabilities = (labels.clamp_min(0).unsqueeze(1) == numbers).float()
    every = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
    return Targets(probabilities, labels >= 0, every)


def guess_or_label(labels: Tensor, chance: Tensor, own: Tensor, joint: Tensor, temperature: float) -> Targets:
    """Labels that are likely right, refined by a network's prediction; elsewhere the prediction of several; sharpened.

    Args:
        labels: (B, *S) int64, negative = none.
        chance: (B,), that the label of an image is right; from 0.5 on the image is labelled.
        own, joint: Probabilities (B, C, *S), of the network and of all.
    """
    given = one_hot(labels, own.shape[1])
    right = (chance >= 0.5) & given.counted.flatten(1).any(dim=1)
    share = chance.to(own.dtype).view(-1, *[1] * (own.ndim - 1))
    refined = share * given.probabilities + (1 - share) * own
    chosen = right.view(share.shape)
    counted = torch.where(chosen.squeeze(1), given.counted, True)
    return Targets(sharpened_mean([torch.where(chosen, refined, joint)], temperature), counted, right)


def blended(images: Tensor, targets: Targets, share: Tensor, others: Tensor) -> tuple[Tensor, Targets]:
    """Every image and its target mixed with those of another one; labelled is an image whose larger part is.

    Args:
        images: (B, channels, *S).
        share: (B,), how much of each is its own.
        others: (B,) int64, the number of the other one.
    """
    mixed, probabilities = (mix(values, values[others], share) for values in (images, targets.probabilities))
    return mixed, Targets(probabilities, targets.counted & targets.counted[others], targets.labelled)


def share_divergence(probabilities: Tensor, shares: Tensor) -> Tensor:
    """The divergence of the mean prediction from known class shares, sum_c pi_c log(pi_c / mean p_c), 0 or more.

    Args:
        probabilities: (B, C, *S). Gradient flows into them.
        shares: pi, (C,), adding up to 1.
    """
    mean = at_least_float32(probabilities).transpose(0, 1).flatten(1).mean(dim=1)
    return (torch.xlogy(shares, shares) - shares * mean.clamp_min(1e-8).log()).sum()
