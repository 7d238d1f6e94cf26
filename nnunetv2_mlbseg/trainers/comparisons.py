"""Trainers of the comparison methods: each names its method. Settings and footing are in ``methods/comparison.py``."""

from __future__ import annotations

from nnunetv2_mlbseg.methods.entropy_min import EntropyMin
from nnunetv2_mlbseg.methods.mean_teacher import MeanTeacher
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod


class nnUNetTrainerEntropyMin(nnUNetTrainerMethod):
    """Entropy minimisation: certain predictions on images without a label."""

    method = EntropyMin


class nnUNetTrainerMeanTeacher(nnUNetTrainerMethod):
    """Mean teacher: student and teacher agree on images without a label."""

    method = MeanTeacher
