"""The trainers that ``nnUNetv2_train -tr`` finds. They are defined elsewhere, so that they can be pickled by name."""

from nnunetv2_mlbseg.trainer import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.variants import (
    nnUNetTrainerMLBSegAllLabels,
    nnUNetTrainerMLBSegBootstrap,
    nnUNetTrainerMLBSegCleanOnly,
    nnUNetTrainerMLBSegMLB,
    nnUNetTrainerMLBSegMLBMeanTeacher,
    nnUNetTrainerMLBSegMLBPLE,
    nnUNetTrainerMLBSegNLReweighting,
    nnUNetTrainerMLBSegNoNoise,
    nnUNetTrainerMLBSegUNetPlusPlus,
    nnUNetTrainerMLBSegUniform,
)

__all__ = [
    "nnUNetTrainerMLBSeg",
    "nnUNetTrainerMLBSegAllLabels",
    "nnUNetTrainerMLBSegBootstrap",
    "nnUNetTrainerMLBSegCleanOnly",
    "nnUNetTrainerMLBSegMLB",
    "nnUNetTrainerMLBSegMLBMeanTeacher",
    "nnUNetTrainerMLBSegMLBPLE",
    "nnUNetTrainerMLBSegNLReweighting",
    "nnUNetTrainerMLBSegNoNoise",
    "nnUNetTrainerMLBSegUNetPlusPlus",
    "nnUNetTrainerMLBSegUniform",
]
