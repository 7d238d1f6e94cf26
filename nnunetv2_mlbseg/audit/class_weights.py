"""The meta-learned weight that every class would have as the label of a voxel, over all slices of a case (Eq. 4-6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.audit.network_opinion import predictor_of, to_image
from nnunetv2_mlbseg.maths.tangents.forward import Direction, logit_tangents
from nnunetv2_mlbseg.maths.weighting.meta import class_derivatives
from nnunetv2_mlbseg.networks.surgery import predicting
from nnunetv2_mlbseg.training.restored import TrainedFold

CLEAN_BATCHES = 16
"""Clean batches whose directions are averaged: the derivative along a mean is the mean of the derivatives."""


class WeightsAsLogits(nn.Module):
    """A network whose output is the raw weight of every class, so that nnU-Net's inference can tile and resample it.

    Args:
        student: With deep supervision switched off by the time it is called.
        direction: v, one entry per parameter of ``student``.
    """

    def __init__(self, student: nn.Module, direction: Direction):
        super().__init__()
        self.student, self.direction = student, direction

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, *S) to (B, C, *S), of either sign. No gradient flows."""
        with torch.inference_mode(False):  # forward-mode derivatives cannot use the tensors made in it
            logits, tangents = logit_tangents(self.student, images.clone(), self.direction)
        assert isinstance(logits, Tensor) and isinstance(tangents, Tensor), "deep supervision is on"
        return class_derivatives(logits, tangents)


def clean_direction(fold: TrainedFold, batches: int = CLEAN_BATCHES, seed: int = 0) -> Direction:
    """The mean direction of the clean gradient (Eq. 5) over several batches as the training draws them."""
    directions = fold.clean_directions(batches, seed)
    present = [[part for part in parts if part is not None] for parts in zip(*directions, strict=True)]
    return [torch.stack(parts).mean(0) if parts else None for parts in present]


class ClassWeights:
    """Raw weights by class of whole cases, along the direction of the fold's clean cases."""

    def __init__(self, fold: TrainedFold, direction: Direction):
        self.fold = fold
        self.predictor = predictor_of(fold, WeightsAsLogits(fold.student, direction), None)

    @classmethod
    @contextmanager
    def of(cls, fold: TrainedFold) -> Iterator[ClassWeights]:
        """Draw the clean batches, for which the networks are as in training, then set the student up for inference."""
        direction = clean_direction(fold)
        with predicting(fold.student):
            yield cls(fold, direction)

    def of_case(self, case: str) -> Tensor:
        """(C, Z, Y, X) in the geometry of the raw image, of either sign; 0 where preprocessing cropped it away."""
        weights, properties = self.predictor.logits(self.fold.dataset([case]), case)
        return to_image(weights, properties, self.predictor.plans, self.predictor.configuration)
