"""What a network's encoder and decoder make on the way to its output, for heads that look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.networks.surgery import plain_network
from noise_synthesis.safe_io.errors import InputError


@dataclass
class Features:
    """Feature maps of one forward pass.

    Attributes:
        skips: Of the encoder's stages, finest first, ``(B, F, *S)`` each.
        decoded: Of the decoder's stages, coarsest first.
    """

    skips: list[Tensor] = field(default_factory=list)
    decoded: list[Tensor] = field(default_factory=list)

    @property
    def last(self) -> Tensor:
        """Of the decoder's last stage, at full resolution: what the last layer classifies."""
        return self.decoded[-1]


def encoder_and_decoder(network: nn.Module) -> tuple[Any, Any]:
    """The two parts of nnU-Net's own networks.

    Raises:
        InputError: a network that is not made of them.
    """
    plain: Any = plain_network(network)
    encoder: Any = getattr(plain, "encoder", None)
    decoder: Any = getattr(plain, "decoder", None)
    if encoder is None or not hasattr(decoder, "stages"):
        raise InputError(
            f"the network is a {type(plain).__name__} without encoder and decoder, which the method looks into; "
            f"expected one of nnU-Net's own networks"
        )
    return encoder, decoder


@contextmanager
def features_of(network: nn.Module) -> Iterator[Features]:
    """Take note of the feature maps while the network is called inside of the block. They keep their graph.

    Raises:
        InputError: a network that is not made of nnU-Net's encoder and decoder.
    """
    encoder, decoder = encoder_and_decoder(network)
    found = Features()

    def keep_skips(module: nn.Module, args: Any, output: list[Tensor]) -> None:
        found.skips = list(output)

    def keep_decoded(module: nn.Module, args: Any, output: Tensor) -> None:
        found.decoded.append(output)

    with hooked(keep_skips, encoder), hooked(keep_decoded, *decoder.stages):
        yield found


@contextmanager
def hooked(note: Callable[[nn.Module, Any, Any], None], *modules: nn.Module) -> Iterator[None]:
    """Call ``note`` with every module, its input and its output after each call of one inside of the block."""
    hooks = [module.register_forward_hook(note) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class MeanFeatures:
    """The mean of the encoder's coarsest features over all places of all images that the network has seen.

    Attributes:
        total: Sum over the images of their means over places, (F,) float64 on the CPU.
        images: How many.
    """

    total: Tensor | float = 0.0
    images: int = 0

    @property
    def mean(self) -> Tensor:
        """(F,) float64."""
        assert isinstance(self.total, Tensor), "the network has seen no image"
        return self.total / self.images


@contextmanager
def mean_features(network: nn.Module) -> Iterator[MeanFeatures]:
    """Take the mean of the coarsest features of all calls of the network inside of the block. No gradient flows.

    Raises:
        InputError: a network that is not made of nnU-Net's encoder and decoder.
    """
    encoder, _ = encoder_and_decoder(network)
    found = MeanFeatures()

    def add(module: nn.Module, args: Any, output: list[Tensor]) -> None:
        coarsest = output[-1].detach().flatten(2).to("cpu", torch.float64)
        found.total = found.total + coarsest.mean(dim=2).sum(dim=0)
        found.images += len(coarsest)

    with hooked(add, encoder):
        yield found
