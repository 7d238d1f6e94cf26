"""Logits and their derivative along a direction, by one forward-mode Jacobian-vector product.

The direction is the clean gradient of Eq. 5, at theta or after a step. What the derivatives weigh is in
`maths/weighting/meta`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.tensors import at_least_float32, without_autocast
from nnunetv2_mlbseg.networks.surgery import norms_in_float32, parameters_replaced, plain_network, tangent_mode

Direction = Sequence[Tensor | None]
"""One entry per ``network.parameters()``, in that order; None stands for zero."""

Outputs = Tensor | list[Tensor]
"""What a network returns: logits, or a list of them with deep supervision (finest first)."""


def unit_direction(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Scale a gradient over all parameters to norm 1, without asking the device for a number.

    The length cancels in Eq. 8; scaling it away keeps the tangents in range and undoes the factor of a gradient
    scaler. A gradient that is zero or not finite becomes zero, so that no pixel gets a weight from it.
    """
    present = [gradient for gradient in gradients if gradient is not None]
    norm = torch.stack(torch._foreach_norm([at_least_float32(gradient) for gradient in present])).norm()
    factor = torch.where(torch.isfinite(norm) & (norm > 0), norm.reciprocal(), 0.0)
    return [None if g is None else torch.nan_to_num(g * factor, posinf=0.0, neginf=0.0) for g in gradients]


def logit_tangents(
    network: nn.Module, images: Tensor, direction: Direction, exact: bool = True
) -> tuple[Outputs, Outputs]:
    """Logits and their directional derivative dz = J(theta) v, in one forward pass without a graph.

    Computed in float32 (float64 if the parameters are), with autocast off unless ``exact`` is false, on the module
    inside any compile or data-parallel wrapper, in its present train or eval mode. Parameters, buffers and gradients
    are left as they are.

    Args:
        network: maps (B, channels, *S) to logits (B, C, *S), or to a list of them with deep supervision.
        images: (B, channels, *S).
        direction: v, in general grad L_clean; one tensor per parameter, None for zero.
        exact: false: by the autocast that the caller is in, but for norm layers. Half precision is enough for sums over
            many pixels.

    Returns:
        (logits, tangents), each shaped as the network's output; tangents in logits per unit of v.

    Raises:
        ValueError: ``direction`` does not have one entry per parameter.
    """
    module = plain_network(network)
    parameters = _matched(module, direction)
    dtype = at_least_float32(parameters[0]).dtype
    precision = without_autocast(images.device.type) if exact else norms_in_float32(module)
    with torch.no_grad(), precision, tangent_mode(module), forward_ad.dual_level():
        duals = {
            id(parameter): forward_ad.make_dual(parameter.detach(), tangent.detach().to(parameter.dtype))
            for parameter, tangent in zip(parameters, direction, strict=True)
            if tangent is not None
        }
        with parameters_replaced(module, duals):
            outputs = module(images.to(dtype))
        return _unpacked(outputs)


def _unpacked(outputs: Tensor | Sequence[Tensor]) -> tuple[Outputs, Outputs]:
    if isinstance(outputs, Tensor):
        logits, tangent = forward_ad.unpack_dual(outputs)
        return logits, torch.zeros_like(logits) if tangent is None else tangent
    pairs = [_unpacked(output) for output in outputs]
    return [logits for logits, _ in pairs], [tangents for _, tangents in pairs]  # type: ignore[misc]


def _matched(module: nn.Module, direction: Direction) -> list[nn.Parameter]:
    parameters = list(module.parameters())
    if len(direction) != len(parameters):
        raise ValueError(f"direction has {len(direction)} entries, expected one per parameter: {len(parameters)}")
    return parameters


@contextmanager
def displaced(network: nn.Module, direction: Direction, step: float) -> Iterator[None]:
    """Hold the network at theta - step * direction; for a clean gradient taken after another step.

    Inside, the parameters are the same objects, so gradients are asked for as always. Each one's storage is set
    aside and comes back on leaving, bit for bit, also after an exception. A graph built before stays valid after.

    Raises:
        ValueError: ``direction`` does not have one entry per parameter.
    """
    parameters = _matched(plain_network(network), direction)
    moved = [(p, p.data, v) for p, v in zip(parameters, direction, strict=True) if v is not None]
    try:
        for parameter, original, tangent in moved:
            parameter.data = original - step * tangent.detach().to(original.dtype)
        yield
    finally:
        for parameter, original, _ in moved:
            parameter.data = original
