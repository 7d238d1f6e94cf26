"""A head on the last feature maps of a decoder, which says something of every pixel."""

from __future__ import annotations

from typing import Any

from torch import nn

from nnunetv2_mlbseg.networks.surgery import plain_network
from noise_synthesis.safe_io.errors import InputError


def pixel_head(network: nn.Module, channels: int) -> nn.Module:
    """A convolution of one pixel from what the network's last layer classifies to ``channels`` maps.

    Raises:
        InputError: a network without nnU-Net's decoder.
    """
    decoder: Any = getattr(plain_network(network), "decoder", None)
    if not hasattr(decoder, "seg_layers"):
        raise InputError(
            f"the network is a {type(plain_network(network)).__name__} without nnU-Net's decoder, on which the method "
            f"has a head; expected one of nnU-Net's own networks"
        )
    last: Any = decoder.seg_layers[-1]
    made: nn.Module = type(last)(last.in_channels, channels, 1)
    return made
