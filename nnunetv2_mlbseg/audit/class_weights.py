"""The meta-learned weight that every class would have as the label of a voxel, over all slices of a case (Eq. 4-6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.audit.network_opinion import predictor_of, to_image
from nnunetv2_mlbseg.cases.prediction import CasePredictor
from nnunetv2_mlbseg.maths.label_space import LabelSpace
from nnunetv2_mlbseg.maths.tangents.forward import Direction, logit_tangents
from nnunetv2_mlbseg.maths.weighting.meta import class_derivatives
from nnunetv2_mlbseg.networks.surgery import predicting
from nnunetv2_mlbseg.training.restored import TrainedFold

ONE_GROUP = LabelSpace()

CLEAN_BATCHES = 16
"""Clean batches whose directions are averaged: the derivative along a mean is the mean of the derivatives."""


class WeightsAsLogits(nn.Module):
    """A network whose output is the raw weight of every class, so that nnU-Net's inference can tile and resample it.

    Args:
        student: With deep supervision switched off by the time it is called.
        direction: v, one entry per parameter of ``student``.
        space: What its outputs mean. nnU-Net expects one output for each region, and a label says outside or inside:
        label: Of regions the weights of this one, 0 or 1.
    """

    def __init__(self, student: nn.Module, direction: Direction, space: LabelSpace = ONE_GROUP, label: int = 1):
        super().__init__()
        self.student, self.direction, self.space, self.label = student, direction, space, label

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, *S) to (B, C, *S), of regions (B, R, *S), of either sign. No gradient flows."""
        with torch.inference_mode(False):  # forward-mode derivatives cannot use the tensors made in it
            logits, tangents = logit_tangents(self.student, images.clone(), self.direction)
        assert isinstance(logits, Tensor) and isinstance(tangents, Tensor), "deep supervision is on"
        found = class_derivatives(self.space.logits(logits), self.space.logits(tangents))
        return found[:, self.label].unflatten(0, (len(images), -1)) if self.space.regions else found


def clean_direction(fold: TrainedFold, batches: int = CLEAN_BATCHES, seed: int = 0) -> Direction:
    """The mean direction of the clean gradient (Eq. 5) over several batches as the training draws them."""
    directions = fold.clean_directions(batches, seed)
    present = [[part for part in parts if part is not None] for parts in zip(*directions, strict=True)]
    return [torch.stack(parts).mean(0) if parts else None for parts in present]


class ClassWeights:
    """Raw weights by class of whole cases, along the direction of the fold's clean cases."""

    def __init__(self, fold: TrainedFold, direction: Direction):
        space = fold.method.passes.space
        shown = [WeightsAsLogits(fold.student, direction, space, label) for label in range(2 if space.regions else 1)]
        self.fold = fold
        self.predictors = [predictor_of(fold, network, None) for network in shown]

    @classmethod
    @contextmanager
    def of(cls, fold: TrainedFold) -> Iterator[ClassWeights]:
        """Draw the clean batches, for which the networks are as in training, then set the student up for inference."""
        direction = clean_direction(fold)
        with predicting(fold.student):
            yield cls(fold, direction)

    def of_case(self, case: str) -> Tensor:
        """(G, C, Z, Y, X) in the geometry of the raw image, of either sign; 0 where preprocessing cropped it away."""
        maps = [self._of_case(predictor, case) for predictor in self.predictors]
        return torch.stack(maps, dim=1) if len(maps) > 1 else maps[0].unsqueeze(0)

    def _of_case(self, predictor: CasePredictor, case: str) -> Tensor:
        weights, properties = predictor.logits(self.fold.dataset([case]), case)
        return to_image(weights, properties, predictor.plans, predictor.configuration)
