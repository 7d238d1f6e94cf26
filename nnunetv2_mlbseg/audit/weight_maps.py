"""How much the training counts the given label and the network's own at every voxel: the weights of Eq. 9 as maps.

Computed afresh from a checkpoint, for whole cases in the geometry of their labels. The pseudo label is the class that
the network finds most probable there. Training sees crops, augmented and in several views; here every slice is seen
once as it is, and meta weights follow the mean of many clean batches where a step of the training follows one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunetv2_mlbseg.audit.class_weights import ClassWeights
from nnunetv2_mlbseg.cases.training_cases import METHOD
from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.tangents.forward import normalize_weights
from nnunetv2_mlbseg.maths.weighting.strategies import TIED
from nnunetv2_mlbseg.maths.weighting.tied import DisputeRecord, normalized_parts, tied_weights
from nnunetv2_mlbseg.methods.mlbseg.terms import labels_that_count
from nnunetv2_mlbseg.networks.surgery import plain_network

if TYPE_CHECKING:
    from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg


@dataclass(frozen=True)
class WeightMaps:
    """Weights of both labels, (Z, Y, X) float32, 0 or more, 0 where there is no such label.

    The unit is the mean voxel: with ``weight_normalization`` joint both maps together add up to the number of voxels
    with a label (with tied weights less what a voxel's rival class gets), with sum each of them does, with accepted
    each has that sum shared by the voxels that it accepts.
    """

    imperfect: Tensor
    pseudo: Tensor

    @property
    def share(self) -> Tensor:
        """The given label's part of a voxel's weight, 0 to 1; 0.5 where neither label has any."""
        both = self.imperfect + self.pseudo
        return torch.where(both > 0, self.imperfect / both.clamp_min(1e-12), 0.5)


Weigh = Callable[[str, Tensor, Tensor, Tensor], WeightMaps]
"""(case, the network's probabilities (C, Z, Y, X), given label (Z, Y, X) int64 with -1 for none, its depth levels) ->
its weight maps."""


def normalized(raw_imperfect: Tensor, raw_pseudo: Tensor, voxels: int, how: str) -> WeightMaps:
    """Eq. 7-8 over a whole case in place of a batch, times the number of labelled voxels. Both (Z, Y, X)."""
    imperfect, pseudo = normalize_weights(raw_imperfect, raw_pseudo, how)
    return WeightMaps(imperfect * voxels, pseudo * voxels)


def tied_maps(
    probabilities: Tensor, given: ImperfectLabels, record: DisputeRecord, strength: float, normalization: str
) -> WeightMaps:
    """What tied weights give: :func:`tied_weights` with the record of the checkpoint.

    Args:
        probabilities: (C, Z, Y, X).
        given: The label of the case, as a batch of one.
    """
    pseudo = probabilities.argmax(dim=0)
    raw = tied_weights(record, given, pseudo[None], probabilities[None], strength)
    known = given.classes[0] >= 0
    imperfect, counted = (torch.where(known, one[0], 0.0) for one in raw)
    imperfect, counted, _ = normalized_parts(imperfect, counted, normalization)
    voxels = int(known.sum())
    return WeightMaps(imperfect * voxels, counted * voxels)


def meta_maps(
    class_weights: Tensor, probabilities: Tensor, given: Tensor, counted: str, normalization: str
) -> WeightMaps:
    """What meta weights give (Eq. 6-8).

    Args:
        class_weights: (C, Z, Y, X), the raw weight that each class would have as a label.
        counted: ``weighted_labels`` of the training.
    """
    pseudo = torch.where(given >= 0, probabilities.argmax(dim=0), -1)
    raw = [_of_class(class_weights, labels) for labels in labels_that_count(given, pseudo, counted)]
    return normalized(raw[0], raw[1], int((given >= 0).sum()), normalization)


def _of_class(class_weights: Tensor, labels: Tensor) -> Tensor:
    own = class_weights.gather(0, labels.clamp_min(0)[None])[0]
    return torch.where(labels >= 0, own, 0.0)


def without_maps(trainer: nnUNetTrainerMLBSeg) -> str | None:
    """Why a training gives no weight maps; None where it does."""
    config = trainer.config
    if config.training_labels != METHOD:
        return f"training_labels is {config.training_labels}, plain training without weights"
    if config.weighting == "uniform":
        return "weighting is uniform: both labels count the same everywhere"
    if config.weighting == TIED and trainer.bootstrap_step.disputes is None:
        return "the checkpoint was written before the first weights"
    return None


@contextmanager
def weighing(trainer: nnUNetTrainerMLBSeg, record: DisputeRecord | None) -> Iterator[Weigh | None]:
    """The weighting of a restored trainer as a function of a case; None where :func:`without_maps` says why.

    Args:
        record: The trainer's record of disputes, on the CPU.
    """
    config = trainer.config
    if without_maps(trainer) is not None:
        yield None
    elif record is not None and config.weighting == TIED:
        number = {case: n for n, case in enumerate(trainer.roles.noisy)}

        def weigh(case: str, probabilities: Tensor, given: Tensor, levels: Tensor) -> WeightMaps:
            of_case = torch.tensor([number.get(case, -1)])
            labels = ImperfectLabels(given[None], levels[None], torch.zeros(1, dtype=torch.bool), of_case)
            return tied_maps(probabilities, labels, record, config.tied_strength, config.weight_normalization)

        yield weigh
    else:
        student = plain_network(trainer.network)
        weights = ClassWeights(trainer, student)
        with trainer._for_inference(student):
            yield lambda case, probabilities, given, _: meta_maps(
                weights.of_case(case), probabilities, given, config.weighted_labels, config.weight_normalization
            )
