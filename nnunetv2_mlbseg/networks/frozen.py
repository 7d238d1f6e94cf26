"""An encoder that does not learn, for the time of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from nnunetv2_mlbseg.networks.features import encoder_and_decoder


@contextmanager
def frozen_encoder(network: nn.Module) -> Iterator[None]:
    """No gradient flows from the decoder into the encoder while the network is called inside of the block.

    Raises:
        InputError: a network that is not made of nnU-Net's encoder and decoder.
    """

    def cut(module: nn.Module, args: Any, output: list[Tensor]) -> list[Tensor]:
        return [skip.detach() for skip in output]

    hook = encoder_and_decoder(network)[0].register_forward_hook(cut)
    try:
        yield
    finally:
        hook.remove()
