"""The trainers that ``nnUNetv2_train -tr`` finds. They are defined elsewhere, so that they can be pickled by name."""

from nnunetv2_mlbseg.runtime.nnunet_version import check_version

try:
    from nnunetv2_mlbseg.trainers.ablations import (
        nnUNetTrainerMLBSegBootstrap,
        nnUNetTrainerMLBSegMLB,
        nnUNetTrainerMLBSegMLBMeanTeacher,
        nnUNetTrainerMLBSegMLBPLE,
        nnUNetTrainerMLBSegNLReweighting,
        nnUNetTrainerMLBSegUniform,
    )
    from nnunetv2_mlbseg.trainers.baselines import (
        nnUNetTrainerMLBSegAllLabels,
        nnUNetTrainerMLBSegCleanOnly,
        nnUNetTrainerMLBSegNoNoise,
    )
    from nnunetv2_mlbseg.trainers.comparisons import (
        nnUNetTrainerDUWM,
        nnUNetTrainerEntropyMin,
        nnUNetTrainerLGERMT,
        nnUNetTrainerMeanTeacher,
        nnUNetTrainerMixUp,
        nnUNetTrainerUAMT,
    )
    from nnunetv2_mlbseg.trainers.comparisons_contrast import (
        nnUNetTrainerContrastive,
        nnUNetTrainerDiscreteMI,
        nnUNetTrainerSelfPaced,
    )
    from nnunetv2_mlbseg.trainers.comparisons_noisy import nnUNetTrainerADELE, nnUNetTrainerELR, nnUNetTrainerMTCL
    from nnunetv2_mlbseg.trainers.comparisons_with_companions import (
        nnUNetTrainerBCP,
        nnUNetTrainerCPS,
        nnUNetTrainerDAN,
        nnUNetTrainerDAP,
        nnUNetTrainerDivideMix,
        nnUNetTrainerDTC,
        nnUNetTrainerFixMatch,
        nnUNetTrainerMCNet,
        nnUNetTrainerSASSNet,
        nnUNetTrainerSDCL,
        nnUNetTrainerUniMatch,
    )
    from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
    from nnunetv2_mlbseg.trainers.unetplusplus import nnUNetTrainerMLBSegUNetPlusPlus
except ImportError:
    check_version()  # another nnU-Net than the tested ones is named; else the error is of another kind
    raise

__all__ = [
    "nnUNetTrainerADELE",
    "nnUNetTrainerBCP",
    "nnUNetTrainerCPS",
    "nnUNetTrainerContrastive",
    "nnUNetTrainerDAN",
    "nnUNetTrainerDAP",
    "nnUNetTrainerDTC",
    "nnUNetTrainerDUWM",
    "nnUNetTrainerDiscreteMI",
    "nnUNetTrainerDivideMix",
    "nnUNetTrainerELR",
    "nnUNetTrainerEntropyMin",
    "nnUNetTrainerFixMatch",
    "nnUNetTrainerLGERMT",
    "nnUNetTrainerMCNet",
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
    "nnUNetTrainerMTCL",
    "nnUNetTrainerMeanTeacher",
    "nnUNetTrainerMixUp",
    "nnUNetTrainerSASSNet",
    "nnUNetTrainerSDCL",
    "nnUNetTrainerSelfPaced",
    "nnUNetTrainerUAMT",
    "nnUNetTrainerUniMatch",
]
