"""Trainers of the comparison methods that read noisy labels: each names its method."""

from __future__ import annotations

from nnunetv2_mlbseg.methods.adele import ADELE
from nnunetv2_mlbseg.methods.elr import ELR
from nnunetv2_mlbseg.methods.mtcl import MTCL
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod


class nnUNetTrainerADELE(nnUNetTrainerMethod):
    """ADELE: noisy labels are corrected between epochs, class by class, once a class has been learned."""

    method = ADELE


class nnUNetTrainerELR(nnUNetTrainerMethod):
    """Early-learning regularisation: noisy labels are not learned against what was believed before."""

    method = ELR


class nnUNetTrainerMTCL(nnUNetTrainerMethod):
    """Mean teacher with confident learning: the teacher finds and corrects wrong pixels of noisy labels."""

    method = MTCL
