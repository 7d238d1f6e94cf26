"""Baselines: nnU-Net's own training, with labels at face value, for as long as the method trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nnunetv2_mlbseg.methods.plain import CLEAN, GIVEN, UPPER_BOUND
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.training.card import Card

Variant = Mapping[str, Any]


class nnUNetTrainerMLBSegCleanOnly(nnUNetTrainerMLBSeg):
    """Plain training on the clean cases for the whole length: what the method as a whole has to beat."""

    variant: ClassVar[Variant] = {"training_labels": "clean"}
    card: ClassVar[Card] = CLEAN


class nnUNetTrainerMLBSegAllLabels(nnUNetTrainerMLBSeg):
    """Plain training on clean and noisy cases, every label at face value: the noisy baseline."""

    variant: ClassVar[Variant] = {"training_labels": "given"}
    card: ClassVar[Card] = GIVEN


class nnUNetTrainerMLBSegNoNoise(nnUNetTrainerMLBSeg):
    """Plain training on all cases with their true labels from ``labelsTr_true``: the upper bound of a study."""

    variant: ClassVar[Variant] = {"training_labels": "true"}
    card: ClassVar[Card] = UPPER_BOUND
