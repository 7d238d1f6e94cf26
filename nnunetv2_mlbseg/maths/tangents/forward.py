"""Meta-learned weight maps (Eq. 4-8) by one forward-mode Jacobian-vector product.

The virtual step (Eq. 4) is taken at w = 0, so it leaves theta where it is, and Eq. 6 becomes, for every pixel,

    w = alpha * beta * < grad_theta CE_pixel(theta), grad_theta L_clean(theta) >.

With dz the derivative of that pixel's logits along the clean gradient, this is sum_c softmax_c dz_c - dz_y. All pixels
and both kinds of label share one pass. The derivation is in docs/method.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.networks.surgery import parameters_replaced, plain_network, tangent_mode

NORMALIZATIONS = ("sum", "joint", "accepted")
"""The ways `normalize_weights` knows."""

Direction = Sequence[Tensor | None]
"""One entry per ``network.parameters()``, in that order; None stands for zero."""

Outputs = Tensor | list[Tensor]
"""What a network returns: logits, or a list of them with deep supervision (finest first)."""


def logit_tangents(network: nn.Module, images: Tensor, direction: Direction) -> tuple[Outputs, Outputs]:
    """Logits and their directional derivative dz = J(theta) v, in one forward pass without a graph.

    Computed in float32 (float64 if the parameters are), with autocast off, on the module inside any compile or
    data-parallel wrapper, in its present train or eval mode. Parameters, buffers and gradients are left as they are.

    Args:
        network: maps (B, channels, *S) to logits (B, C, *S), or to a list of them with deep supervision.
        images: (B, channels, *S).
        direction: v, in general grad L_clean; one tensor per parameter, None for zero.

    Returns:
        (logits, tangents), each shaped as the network's output; tangents in logits per unit of v.

    Raises:
        ValueError: ``direction`` does not have one entry per parameter.
    """
    module = plain_network(network)
    parameters = _matched(module, direction)
    dtype = at_least_float32(parameters[0]).dtype
    autocast_off = torch.autocast(images.device.type, enabled=False)
    with torch.no_grad(), autocast_off, tangent_mode(module), forward_ad.dual_level():
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


def label_weights(logits: Tensor, tangents: Tensor, labels: Tensor) -> Tensor:
    """The raw weight of every pixel's label (Eq. 4-6 up to the positive factor alpha * beta).

    It is < grad_theta CE_pixel, v >: how fast a step along -grad CE_pixel lowers the loss that v is the gradient of.

    Args:
        logits, tangents: (B, C, *S) from `logit_tangents`. No gradient flows.
        labels: (B, *S) int64, negative = ignored.

    Returns:
        (B, *S), of either sign; 0 where the label is ignored.
    """
    tangents = at_least_float32(tangents.detach())
    probabilities = at_least_float32(logits.detach()).softmax(dim=1)
    expected = (probabilities * tangents).sum(dim=1)
    own = tangents.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1)
    return torch.where(labels >= 0, expected - own, 0.0)


def normalize_weights(
    w_imperfect: Tensor, w_pseudo: Tensor, how: str, eps: float = 1e-8, total: Total = unchanged
) -> tuple[Tensor, Tensor]:
    """Drop negative weights (Eq. 7), then scale the rest over the whole batch.

    Weights that are not finite (an overflow in the tangent pass) count as 0. A map without a positive weight stays
    all zero.

    Args:
        w_imperfect, w_pseudo: (B, *S) raw weights for the imperfect and for the pseudo labels.
        how: "sum": each map is divided by its own sum + eps (Eq. 8). "joint": both by their common sum + eps, as the
            authors' script does. "accepted": the n positive weights of a map become 1/n each (only their sign is used).
        eps: the small constant of Eq. 8, in the unit of the raw weights.
        total: sums over the processes that share a batch, so that the whole batch is what is normalised.

    Returns:
        The two maps, (B, *S) each, no unit.

    Raises:
        ValueError: an unknown ``how``.
    """
    maps = [_non_negative(w_imperfect), _non_negative(w_pseudo)]
    if how == "accepted":
        maps = [(weights > 0).to(weights.dtype) for weights in maps]
        totals = [total(weights.sum()).clamp_min(1) for weights in maps]
    elif how == "joint":
        totals = [total(maps[0].sum() + maps[1].sum()) + eps] * 2
    elif how == "sum":
        totals = [total(weights.sum()) + eps for weights in maps]
    else:
        raise ValueError(f"unknown normalization {how!r}, expected one of {', '.join(NORMALIZATIONS)}")
    return maps[0] / totals[0], maps[1] / totals[1]


def _non_negative(weights: Tensor) -> Tensor:
    return torch.nan_to_num(at_least_float32(weights.detach()), nan=0.0, posinf=0.0, neginf=0.0).clamp_min(0)
