"""How wide a network is at each of its resolutions, for heads on its feature maps."""

from __future__ import annotations

from torch import nn

from nnunetv2_mlbseg.networks.features import encoder_and_decoder


def widths(network: nn.Module) -> list[int]:
    """Channels at every resolution, finest first: of the encoder's stage, and of the decoder's where there is one.

    Raises:
        InputError: a network that is not made of nnU-Net's encoder and decoder.
    """
    return [int(width) for width in encoder_and_decoder(network)[0].output_channels]


def convolution_like(network: nn.Module, inside: int, out: int) -> nn.Conv2d | nn.Conv3d:
    """A convolution of one pixel, in as many dimensions as the network's own."""
    kind: type[nn.Conv2d | nn.Conv3d] = encoder_and_decoder(network)[0].conv_op
    return kind(inside, out, 1)
