"""Trainers of the comparison methods that compare images of a batch with each other: each names its method."""

from __future__ import annotations

from nnunetv2_mlbseg.methods.contrastive import Contrastive
from nnunetv2_mlbseg.methods.discrete_mi import DiscreteMI
from nnunetv2_mlbseg.methods.self_paced import SelfPaced
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod


class nnUNetTrainerDiscreteMI(nnUNetTrainerMethod):
    """Mutual information: features tell what a mirrored view of an image keeps."""

    method = DiscreteMI


class nnUNetTrainerContrastive(nnUNetTrainerMethod):
    """Contrastive pretraining on all images, encoder and decoder, then nnU-Net's own training on the clean cases."""

    method = Contrastive


class nnUNetTrainerSelfPaced(nnUNetTrainerMethod):
    """Self-paced contrast: slices of the same part or scan come near each other, easy pairs first."""

    method = SelfPaced
