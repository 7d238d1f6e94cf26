"""Trainers of the comparison methods: each names its method. Settings and footing are in ``methods/comparison.py``."""

from __future__ import annotations

from nnunetv2_mlbseg.methods.duwm import DUWM
from nnunetv2_mlbseg.methods.entropy_min import EntropyMin
from nnunetv2_mlbseg.methods.lgermt import LGERMT
from nnunetv2_mlbseg.methods.mean_teacher import MeanTeacher
from nnunetv2_mlbseg.methods.mixup import MixUp
from nnunetv2_mlbseg.methods.uamt import UAMT
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod


class nnUNetTrainerEntropyMin(nnUNetTrainerMethod):
    """Entropy minimisation: certain predictions on images without a label."""

    method = EntropyMin


class nnUNetTrainerMixUp(nnUNetTrainerMethod):
    """Mix-up: blends of labelled images, and of their labels."""

    method = MixUp


class nnUNetTrainerMeanTeacher(nnUNetTrainerMethod):
    """Mean teacher: student and teacher agree on images without a label."""

    method = MeanTeacher


class nnUNetTrainerUAMT(nnUNetTrainerMethod):
    """UA-MT, the uncertainty-aware mean teacher: student and teacher agree where the teacher is sure."""

    method = UAMT


class nnUNetTrainerLGERMT(nnUNetTrainerMethod):
    """LG-ER-MT: a mean teacher with local and global structure, and entropy minimisation."""

    method = LGERMT


class nnUNetTrainerDUWM(nnUNetTrainerMethod):
    """Double-uncertainty weighting, after Wang et al.: a mean teacher, weighted by how sure it is."""

    method = DUWM
