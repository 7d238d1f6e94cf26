"""The trainers that ``nnUNetv2_train -tr`` finds. They are defined elsewhere, so that they can be pickled by name."""

from nnunetv2_mlbseg.nnunet_version import check_version

try:
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
except ImportError:
    check_version()  # another nnU-Net than the tested ones is named; else the error is of another kind
    raise

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
