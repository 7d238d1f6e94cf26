"""Dropout in a network that has none: for the time of a block, without a parameter or a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from nnunetv2_mlbseg.networks.features import encoder_and_decoder

Uniform = Callable[[Sequence[int]], Tensor]
"""Numbers from 0 to 1 in a given shape, on the network's device."""


@contextmanager
def channel_dropout(network: nn.Module, probability: float, uniform: Uniform) -> Iterator[None]:
    """Drop whole channels of the bottleneck and of the decoder's last stage, V-Net's two places, inside the block.

    The others are multiplied by 1 / (1 - probability). Evaluation mode makes no difference.

    Args:
        probability: Of a channel to be dropped, below 1.
        uniform: Draws, once for each place and call: ``(B, channels)``.

    Raises:
        InputError: a network that is not made of nnU-Net's encoder and decoder.
    """
    encoder, decoder = encoder_and_decoder(network)

    def dropped(features: Tensor) -> Tensor:
        kept = (uniform(features.shape[:2]) >= probability).to(features.dtype) / (1 - probability)
        return features * kept.view(*features.shape[:2], *[1] * (features.ndim - 2))

    def at_bottleneck(module: nn.Module, args: Any, output: list[Tensor]) -> list[Tensor]:
        return [*output[:-1], dropped(output[-1])]

    def at_last_stage(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return dropped(output)

    hooks = [
        encoder.register_forward_hook(at_bottleneck),
        decoder.stages[-1].register_forward_hook(at_last_stage),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
