"""A head on the last feature maps of a decoder, which says something of every pixel."""

from __future__ import annotations

from typing import Any

from torch import nn

from nnunetv2_mlbseg.networks.features import encoder_and_decoder


def pixel_head(network: nn.Module, channels: int) -> nn.Module:
    """A convolution of one pixel from what the network's last layer classifies to ``channels`` maps.

    Raises:
        InputError: a network that is not made of nnU-Net's encoder and decoder.
    """
    last: Any = encoder_and_decoder(network)[1].seg_layers[-1]
    made: nn.Module = type(last)(last.in_channels, channels, 1)
    return made
