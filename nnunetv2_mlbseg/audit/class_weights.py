"""The meta-learned weight that every class would have as the label of a voxel, over all slices of a case (Eq. 4-6)."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.audit.network_opinion import predictor_of, to_image
from nnunetv2_mlbseg.cases.loaders import LoaderFactory
from nnunetv2_mlbseg.maths.tangents.forward import Direction, label_weights, logit_tangents
from nnunetv2_mlbseg.methods.mlbseg.terms import unit_direction
from nnunetv2_mlbseg.runtime import random_state

if TYPE_CHECKING:
    from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg

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
        return class_weights(logits, tangents)


def class_weights(logits: Tensor, tangents: Tensor) -> Tensor:
    """:func:`label_weights` of each class as the label: (B, C, *S) all three."""
    shape = (logits.shape[0], *logits.shape[2:])
    classes = range(logits.shape[1])
    return torch.stack(
        [label_weights(logits, tangents, torch.full(shape, c, device=logits.device)) for c in classes], 1
    )


def clean_direction(trainer: nnUNetTrainerMLBSeg, batches: int = CLEAN_BATCHES, seed: int = 0) -> Direction:
    """The mean direction of the clean gradient (Eq. 5) over several batches as the training draws them.

    Taken at theta also where the training takes it after a virtual step of the consistency terms, which depends on the
    imperfect batch.
    """
    step, factory = trainer.bootstrap_step, LoaderFactory.of_trainer(trainer, deterministic=True)
    with random_state.preserved(), redirect_stdout(StringIO()):  # nnU-Net tells how it augments
        random_state.seed_everything(seed)
        loader = factory.training(trainer._dataset(trainer.roles.clean), trainer.batch_sizes["bootstrapping"])
        directions = [unit_direction(step.clean_gradient(next(loader))) for _ in range(batches)]
    present = [[part for part in parts if part is not None] for parts in zip(*directions, strict=True)]
    return [torch.stack(parts).mean(0) if parts else None for parts in present]


class ClassWeights:
    """Raw weights by class of whole cases, along the direction of the fold's clean cases.

    Args:
        trainer: Restored, with deep supervision on, as the loss of its clean batches wants it. It is to be off when
            :meth:`of_case` is called.
        student: The trainer's network.
    """

    def __init__(self, trainer: nnUNetTrainerMLBSeg, student: nn.Module):
        self.trainer = trainer
        self.generator = predictor_of(trainer, WeightsAsLogits(student, clean_direction(trainer)), None)

    def of_case(self, case: str) -> Tensor:
        """(C, Z, Y, X) in the geometry of the raw image, of either sign; 0 where preprocessing cropped it away."""
        weights, properties = self.generator.logits(self.trainer._dataset([case]), case)
        return to_image(weights, properties, self.generator.plans, self.generator.configuration)
