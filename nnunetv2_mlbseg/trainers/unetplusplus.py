"""The method with the paper's backbone in place of the plan's network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.networks.unetplusplus import UNetPlusPlus, check_patch_size
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.training.card import Card


class nnUNetTrainerMLBSegUNetPlusPlus(nnUNetTrainerMLBSeg):
    """The method with the paper's backbone, UNet++, in place of the plan's network; one output, no deep supervision."""

    variant: ClassVar[Mapping[str, Any]] = {"deep_supervision": False}
    card: ClassVar[Card] = replace(MLBSeg.card, idea="MLB-Seg with the network of its paper")

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
