"""Ablations: the method without some of its parts. They change settings and nothing else.

All of them train for the same number of iterations as :class:`nnUNetTrainerMLBSeg` under the same settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg

Variant = Mapping[str, Any]

NO_PLE: Variant = {"ple": False}
NO_TEACHER: Variant = {"mean_teacher": False}


class nnUNetTrainerMLBSegBootstrap(nnUNetTrainerMLBSeg):
    """Both labels with fixed, equal weights (Reed et al. 2014); no meta-learning.

    Without views and teacher, as in the paper's Table 5, unless the configuration sets ``ple`` or ``mean_teacher``.
    """

    variant: ClassVar[Variant] = {"weighting": "uniform"}
    variant_defaults: ClassVar[Variant] = {**NO_PLE, **NO_TEACHER}


class nnUNetTrainerMLBSegUniform(nnUNetTrainerMLBSeg):
    """The complete method but for the weights, which are fixed and equal: what meta-learned weights have to beat."""

    variant: ClassVar[Variant] = {"weighting": "uniform", "ple": True, "mean_teacher": True}


class nnUNetTrainerMLBSegMLB(nnUNetTrainerMLBSeg):
    """Meta-learned weights alone: pseudo labels of the single image (Eq. 3), no views, no teacher."""

    variant: ClassVar[Variant] = {**NO_PLE, **NO_TEACHER}


class nnUNetTrainerMLBSegMLBMeanTeacher(nnUNetTrainerMLBSeg):
    """Meta-learned weights and the mean teacher, no views."""

    variant: ClassVar[Variant] = {**NO_PLE, "mean_teacher": True}


class nnUNetTrainerMLBSegMLBPLE(nnUNetTrainerMLBSeg):
    """Meta-learned weights and views (Q of them: the key ``views``), no teacher."""

    variant: ClassVar[Variant] = {"ple": True, **NO_TEACHER}


class nnUNetTrainerMLBSegNLReweighting(nnUNetTrainerMLBSeg):
    """Meta-learned weights on the imperfect labels, no pseudo labels (Mirikharaji et al. 2019)."""

    variant: ClassVar[Variant] = {
        "weighting": "meta",
        "weight_normalization": "sum",
        "weighted_labels": "imperfect",
        "mixture_dice_weight": 0.0,
        **NO_PLE,
        **NO_TEACHER,
    }
