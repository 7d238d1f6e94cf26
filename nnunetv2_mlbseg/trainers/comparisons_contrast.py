"""Trainers of the comparison methods that compare images of a batch with each other: each names its method."""

from __future__ import annotations

from nnunetv2_mlbseg.methods.discrete_mi import DiscreteMI
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod


class nnUNetTrainerDiscreteMI(nnUNetTrainerMethod):
    """Mutual information: features tell what a mirrored view of an image keeps."""

    method = DiscreteMI
