"""Trainers of comparison methods with companions beside the network, or with mixed images.

Each names its method. Settings and footing are in ``methods/comparison.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nnunetv2_mlbseg.methods.bcp import BCP
from nnunetv2_mlbseg.methods.cps import CPS
from nnunetv2_mlbseg.methods.dan import DAN
from nnunetv2_mlbseg.methods.dap import DAP
from nnunetv2_mlbseg.methods.dividemix import DivideMix
from nnunetv2_mlbseg.methods.dtc import DTC
from nnunetv2_mlbseg.methods.mcnet import MCNet
from nnunetv2_mlbseg.methods.sassnet import SASSNet
from nnunetv2_mlbseg.methods.sdcl import SDCL
from nnunetv2_mlbseg.methods.unimatch import UniMatch
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod


class nnUNetTrainerDAN(nnUNetTrainerMethod):
    """Deep adversarial network: a critic should not tell segmentations of images without a label from others."""

    method = DAN


class nnUNetTrainerSASSNet(nnUNetTrainerMethod):
    """SASSNet: a head regresses signed distance maps, and a critic should not tell those of images without a label."""

    method = SASSNet


class nnUNetTrainerDTC(nnUNetTrainerMethod):
    """DTC: segmentation and signed distance map agree."""

    method = DTC


class nnUNetTrainerMCNet(nnUNetTrainerMethod):
    """MC-Net: two decoders on one encoder follow each other's sharpened prediction."""

    method = MCNet


class nnUNetTrainerCPS(nnUNetTrainerMethod):
    """CPS: two networks label images for each other."""

    method = CPS


class nnUNetTrainerBCP(nnUNetTrainerMethod):
    """BCP: boxes of clean images and of others are pasted into each other."""

    method = BCP


class nnUNetTrainerUniMatch(nnUNetTrainerMethod):
    """UniMatch: sure predictions label two strong views of an image and one with dropped channels."""

    method = UniMatch


class nnUNetTrainerFixMatch(nnUNetTrainerMethod):
    """FixMatch: sure predictions label one strong view of an image."""

    method = UniMatch
    variant: ClassVar[Mapping[str, Any]] = {"strong_views": 1, "feature_weight": 0.0}
    card: ClassVar[Card] = Card(
        idea="sure predictions label one strong view of unlabeled images",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=7 / 3,
        citation="Sohn et al., NeurIPS 2020",
    )


class nnUNetTrainerSDCL(nnUNetTrainerMethod):
    """SDCL: BCP with two students, who correct themselves and doubt where they differ."""

    method = SDCL


class nnUNetTrainerDivideMix(nnUNetTrainerMethod):
    """DivideMix: two networks tell right from wrong noisy cases for each other, and learn from blended images."""

    method = DivideMix


class nnUNetTrainerDAP(nnUNetTrainerMethod):
    """After deep atlas prior: places where a class is unlikely count more, and a critic chooses labels to learn."""

    method = DAP
