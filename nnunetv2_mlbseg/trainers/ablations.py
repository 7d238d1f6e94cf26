"""Ablations: the method without some of its parts. They change settings and nothing else.

All of them train for the same number of iterations as :class:`nnUNetTrainerMLBSeg` under the same settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.training.card import Card

Variant = Mapping[str, Any]

NO_PLE: Variant = {"ple": False}
NO_TEACHER: Variant = {"mean_teacher": False}
NO_STRONG_VIEWS: Variant = {"strong_weight": 0.0}


class nnUNetTrainerMLBSegBootstrap(nnUNetTrainerMLBSeg):
    """Both labels with fixed, equal weights (Reed et al. 2014); no meta-learning.

    Without views and teacher, as in the paper's Table 5, unless the configuration sets ``ple`` or ``mean_teacher``.
    """

    variant: ClassVar[Variant] = {"weighting": "uniform", **NO_STRONG_VIEWS}
    variant_defaults: ClassVar[Variant] = {**NO_PLE, **NO_TEACHER}
    card: ClassVar[Card] = replace(
        MLBSeg.card, idea="given and own labels with equal weights", cost=2, citation="Reed et al., ICLR workshop 2015"
    )


class nnUNetTrainerMLBSegUniform(nnUNetTrainerMLBSeg):
    """The complete method but for the weights, which are fixed and equal: what meta-learned weights have to beat."""

    variant: ClassVar[Variant] = {"weighting": "uniform", "ple": True, "mean_teacher": True}
    card: ClassVar[Card] = replace(MLBSeg.card, idea="MLB-Seg with equal weights", cost=7 / 3)


class nnUNetTrainerMLBSegMLB(nnUNetTrainerMLBSeg):
    """Meta-learned weights alone: pseudo labels of the single image (Eq. 3), no views, no teacher, no strong views."""

    variant: ClassVar[Variant] = {**NO_PLE, **NO_TEACHER, **NO_STRONG_VIEWS}
    card: ClassVar[Card] = replace(MLBSeg.card, idea="MLB-Seg without views and teacher", cost=8 / 3)


class nnUNetTrainerMLBSegMLBMeanTeacher(nnUNetTrainerMLBSeg):
    """Meta-learned weights and the mean teacher, no views."""

    variant: ClassVar[Variant] = {**NO_PLE, "mean_teacher": True, **NO_STRONG_VIEWS}
    card: ClassVar[Card] = replace(MLBSeg.card, idea="MLB-Seg without views", cost=3)


class nnUNetTrainerMLBSegMLBPLE(nnUNetTrainerMLBSeg):
    """Meta-learned weights and views (Q of them: the key ``views``), no teacher."""

    variant: ClassVar[Variant] = {"ple": True, **NO_TEACHER, **NO_STRONG_VIEWS}
    card: ClassVar[Card] = replace(MLBSeg.card, idea="MLB-Seg without teacher", cost=6.4 / 3)


class nnUNetTrainerMLBSegNLReweighting(nnUNetTrainerMLBSeg):
    """Meta-learned weights on the imperfect labels, no pseudo labels (Mirikharaji et al. 2019)."""

    variant: ClassVar[Variant] = {
        "weighting": "meta",
        "weight_normalization": "sum",
        "weighted_labels": "imperfect",
        "mixture_dice_weight": 0.0,
        **NO_PLE,
        **NO_TEACHER,
        **NO_STRONG_VIEWS,
    }
    card: ClassVar[Card] = replace(
        MLBSeg.card,
        idea="learned weights, given labels alone",
        cost=8 / 3,
        citation="Mirikharaji et al., MICCAI 2019",
    )
