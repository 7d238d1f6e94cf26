"""Ablations and baselines: subclasses that change the configuration and nothing else (UNet++ also the network).

docs/method.md says what each one leaves of the method. All of them train for the same number of iterations as
:class:`nnUNetTrainerMLBSeg` under the same configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_mlbseg.networks.unetplusplus import UNetPlusPlus, check_patch_size
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg

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


class nnUNetTrainerMLBSegCleanOnly(nnUNetTrainerMLBSeg):
    """Plain training on the clean cases for the whole length: what the method as a whole has to beat."""

    variant: ClassVar[Variant] = {"training_labels": "clean"}


class nnUNetTrainerMLBSegAllLabels(nnUNetTrainerMLBSeg):
    """Plain training on clean and noisy cases, every label at face value: the noisy baseline."""

    variant: ClassVar[Variant] = {"training_labels": "given"}


class nnUNetTrainerMLBSegNoNoise(nnUNetTrainerMLBSeg):
    """Plain training on all cases with their true labels from ``labelsTr_true``: the upper bound of a study."""

    variant: ClassVar[Variant] = {"training_labels": "true"}


class nnUNetTrainerMLBSegUNetPlusPlus(nnUNetTrainerMLBSeg):
    """The method with the paper's backbone, UNet++, in place of the plan's network; one output, no deep supervision."""

    variant: ClassVar[Variant] = {"deep_supervision": False}

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """UNet++ with the plan's numbers of channels; nnU-Net calls it for training and for inference."""
        check_patch_size(configuration_manager.patch_size)
        features = configuration_manager.network_arch_init_kwargs["features_per_stage"]
        dims = len(configuration_manager.patch_size)
        return UNetPlusPlus(num_input_channels, num_output_channels, features, dims)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Nothing to switch: there is one output."""
