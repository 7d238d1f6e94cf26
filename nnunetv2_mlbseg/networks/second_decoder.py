"""A second decoder for the encoder of a network, which differs from the first in how it enlarges feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnunetv2_mlbseg.networks.features import encoder_and_decoder


class Enlarge(nn.Module):
    """(Bi-, tri-)linear enlargement and a convolution of one pixel, in the place of a transposed convolution."""

    def __init__(self, convolution: type[nn.Module], below: int, above: int, factors: Sequence[int]):
        super().__init__()
        of_any_kind: Any = convolution
        self.convolution: nn.Module = of_any_kind(below, above, 1)
        self.factors = tuple(float(factor) for factor in factors)

    def forward(self, features: Tensor) -> Tensor:
        """(B, below, *S) to (B, above, *S times factors). The convolution comes first: it commutes, on fewer pixels."""
        mode = {4: "bilinear", 5: "trilinear"}[features.ndim]
        enlarged: Tensor = F.interpolate(self.convolution(features), scale_factor=self.factors, mode=mode)
        return enlarged


class SecondDecoder(nn.Module):
    """The decoder of a newly built network with :class:`Enlarge` in it (Wu et al., MICCAI 2021: MC-Net's decoder B).

    It has no encoder: it is fed the feature maps of the first network's.

    Args:
        network: One of nnU-Net's own, newly built; its decoder is taken apart.

    Raises:
        InputError: a network that is not made of nnU-Net's encoder and decoder.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        decoder = encoder_and_decoder(network)[1]
        self.deep_supervision: bool = decoder.deep_supervision
        self.stages, self.seg_layers = decoder.stages, decoder.seg_layers
        convolution = type(decoder.seg_layers[0])
        self.enlarging = nn.ModuleList(
            Enlarge(convolution, layer.in_channels, layer.out_channels, layer.stride) for layer in decoder.transpconvs
        )

    def forward(self, skips: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Feature maps of the encoder, finest first, to logits as nnU-Net's decoder returns them."""
        below, outputs = skips[-1], []
        parts = zip(self.enlarging, self.stages, self.seg_layers, reversed(skips[:-1]), strict=True)
        for enlarge, stage, layer, skip in parts:
            below = stage(torch.cat((enlarge(below), skip), dim=1))
            outputs.append(layer(below))
        return outputs[::-1] if self.deep_supervision else outputs[-1]
