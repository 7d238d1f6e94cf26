"""Ablations and baselines: subclasses that change the configuration and nothing else.

docs/method.md says what each one leaves of the method. All of them train for the same number of iterations as
:class:`nnUNetTrainerMLBSeg` under the same configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nnunetv2_mlbseg.trainer import nnUNetTrainerMLBSeg

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

    variant: ClassVar[Variant] = {"weighting": "meta", "weighted_labels": "imperfect", **NO_PLE, **NO_TEACHER}


class nnUNetTrainerMLBSegCleanOnly(nnUNetTrainerMLBSeg):
    """Plain training on the clean cases for the whole length: what the method as a whole has to beat."""

    variant: ClassVar[Variant] = {"training_labels": "clean"}


class nnUNetTrainerMLBSegAllLabels(nnUNetTrainerMLBSeg):
    """Plain training on clean and noisy cases, every label at face value: the noisy baseline."""

    variant: ClassVar[Variant] = {"training_labels": "given"}


class nnUNetTrainerMLBSegNoNoise(nnUNetTrainerMLBSeg):
    """Plain training on all cases with their true labels from ``labelsTr_true``: the upper bound of a study."""

    variant: ClassVar[Variant] = {"training_labels": "true"}
