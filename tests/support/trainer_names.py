"""The trainers beside the method itself, by what their names add to ``nnUNetTrainerMLBSeg``."""

from __future__ import annotations

from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg

SUFFIXES = (
    "Bootstrap",
    "Uniform",
    "MLB",
    "MLBMeanTeacher",
    "MLBPLE",
    "NLReweighting",
    "CleanOnly",
    "AllLabels",
    "NoNoise",
    "UNetPlusPlus",
)


def trainer_class(suffix: str) -> type[nnUNetTrainerMLBSeg]:
    """``trainer_class("MLB")`` is ``nnUNetTrainerMLBSegMLB``."""
    found: type[nnUNetTrainerMLBSeg] = getattr(mlbseg_trainers, f"nnUNetTrainerMLBSeg{suffix}")
    return found
