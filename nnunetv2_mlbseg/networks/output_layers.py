"""The layers whose results a network returns: a row of weights for every class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.networks.surgery import plain_network, tangent_mode
from noise_synthesis.safe_io.errors import InputError


@torch.no_grad()
def output_layers(network: nn.Module, images: Tensor) -> list[nn.Module]:
    """The convolutions that make a network's outputs, one for every scale.

    Args:
        images: (B, channels, *S), any that the network takes.

    Raises:
        InputError: an output is not the result of a convolution.
    """
    plain: Any = plain_network(network)
    results: dict[int, tuple[Tensor, nn.Module]] = {}  # a tensor that is kept keeps its id

    def keep(layer: nn.Module, args: Any, result: Tensor) -> None:
        results[id(result)] = result, layer

    hooks = [layer.register_forward_hook(keep) for layer in plain.modules() if isinstance(layer, _CONVOLUTIONS)]
    try:
        with tangent_mode(plain):
            outputs = plain(images)
    finally:
        for hook in hooks:
            hook.remove()
    scales = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    if not all(id(output) in results for output in scales):
        raise InputError(
            f"the outputs of the network {type(plain).__name__} are not the results of convolutions, which a class "
            f"that no clean case shows needs; make a case clean that shows it, or use one of nnU-Net's own networks"
        )
    return [results[id(output)][1] for output in scales]


@torch.no_grad()
def copy_rows_(layers: Sequence[nn.Module], source: int, targets: Sequence[int]) -> None:
    """Give some classes the weights of another one, so that their logits are the same everywhere."""
    for layer in layers:
        for parameter in layer.parameters():
            for target in targets:  # one by one: a list of them would be copied to the device, and the host waits
                parameter[target] = parameter[source]


@torch.no_grad()
def clear_rows_(layers: Sequence[nn.Module], targets: Sequence[int]) -> None:
    """Set the weights of some outputs to 0, so that they are 0 everywhere."""
    for layer in layers:
        for parameter in layer.parameters():
            for target in targets:
                parameter[target].zero_()


_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
