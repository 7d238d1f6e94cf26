"""The trainers that ``nnUNetv2_train -tr`` finds. They are defined elsewhere, so that they can be pickled by name."""

from nnunetv2_mlbseg.trainer import nnUNetTrainerMLBSeg

__all__ = ["nnUNetTrainerMLBSeg"]
