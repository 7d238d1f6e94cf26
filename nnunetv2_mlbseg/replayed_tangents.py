"""Logits for training and their tangents from one evaluation of the network.

`logit_tangents` evaluates the network a second time beside the training pass, because automatic differentiation carries
values and tangents together. Here the training pass is recorded, and then replayed: every operation hands out the value
it had, and only tangents are computed. They are the same up to rounding; no activation is kept that the backward pass
would not keep.

The derivatives are written out for the operations of nnU-Net's networks. Any other one raises `NotReplayable`, and so
does a layer with running statistics; `logit_tangents` is for those, for autocast and for compiled networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode

from nnunetv2_mlbseg.meta_reweighting import Direction, Outputs
from nnunetv2_mlbseg.networks import plain_network

CONVOLUTIONS = (torch.conv2d, torch.conv3d, torch.conv_transpose2d, torch.conv_transpose3d)
LINEAR = (F.avg_pool2d, F.avg_pool3d, F.interpolate)
SUMS = (torch.add, torch.Tensor.add, torch.Tensor.add_, torch.Tensor.__add__, torch.Tensor.__iadd__)
KNOWN = frozenset({*CONVOLUTIONS, *LINEAR, *SUMS, F.instance_norm, F.leaky_relu, F.relu, torch.cat})

Calls = list[tuple[Callable[..., Any], Tensor]]


class NotReplayable(Exception):
    """The network does something that this module has no derivative for."""


def logits_with_tangents(network: nn.Module, images: Tensor, direction: Direction) -> tuple[Outputs, Outputs]:
    """The network's outputs with their graph, and their derivative along ``direction`` without one.

    Args:
        network, images, direction: As in `logit_tangents`, all of one floating type.

    Raises:
        NotReplayable: use `logit_tangents`.
        ValueError: ``direction`` does not have one entry per parameter.
    """
    module = plain_network(network)
    if any(isinstance(layer, _NormBase) and layer.track_running_stats for layer in module.modules()):
        raise NotReplayable("a normalisation layer with running statistics")
    pairs = zip(module.parameters(), direction, strict=True)
    tangents = {id(parameter): tangent for parameter, tangent in pairs if tangent is not None}
    with _Recording() as recording:
        outputs = module(images)
    with torch.no_grad(), _Replay(recording.calls, tangents) as replay:
        replayed = module(images)
    if isinstance(outputs, Tensor):
        return outputs, replay.tangent_of(replayed, outputs)
    return list(outputs), [replay.tangent_of(z, like) for z, like in zip(replayed, outputs, strict=True)]


class _Recording(TorchFunctionMode):
    """Notes the value of every operation."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Calls = []

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor):
            if func not in KNOWN:
                raise NotReplayable(getattr(func, "__name__", str(func)))
            self.calls.append((func, found))
        return found


class _Replay(TorchFunctionMode):
    """Hands out the noted values and computes the tangents that belong to them.

    A tangent lives as long as the stand-in for its value, which is as long as the network holds it.
    """

    def __init__(self, calls: Calls, tangents: dict[int, Tensor]) -> None:
        super().__init__()
        self.calls: Iterator[tuple[Callable[..., Any], Tensor]] = iter(calls)
        self.tangents = tangents

    def of(self, value: Tensor | None) -> Tensor | None:
        """The tangent of a parameter or of a value; None for zero."""
        if value is None:
            return None
        return self.tangents.get(id(value), value.__dict__.get("tangent"))

    def tangent_of(self, value: Tensor, like: Tensor) -> Tensor:
        """The tangent of an output."""
        tangent = self.of(value)
        return torch.zeros_like(like) if tangent is None else tangent

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in KNOWN:
            return func(*args, **kwargs)  # sizes and the like; the recording has seen that it is no value
        recorded, value = next(self.calls)
        assert recorded is func, f"the network ran {recorded}, then {func}"
        stand_in = value.detach()
        tangent = self._derivative(func, stand_in, args, kwargs)
        if tangent is not None:
            stand_in.__dict__["tangent"] = tangent
        return stand_in

    def _derivative(self, func: Any, value: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
        if func in CONVOLUTIONS:
            return _convolution(func, self.of, *args, **kwargs)
        if func is F.instance_norm:
            return _instance_norm(self.of, *args, **kwargs)
        if func is torch.cat:
            return _concatenation(self.of, *args, **kwargs)
        if func in SUMS:
            return _sum(*(self.of(term) for term in args[:2]))
        incoming = self.of(args[0])
        if incoming is None:
            return None
        if func is F.leaky_relu:
            return _leaky_relu(incoming, value, *args[1:], **kwargs)
        if func is F.relu:
            return torch.where(value > 0, incoming, 0.0)
        return func(incoming, *args[1:], **kwargs)


TangentOf = Callable[[Tensor | None], Tensor | None]


def _sum(*tangents: Tensor | None) -> Tensor | None:
    """Of two; None is zero."""
    first, second = tangents
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _convolution(
    func: Callable[..., Tensor], of: TangentOf, images: Tensor, weight: Tensor, bias: Tensor | None, *options: Any
) -> Tensor | None:
    """Bilinear: conv(dx, w) + conv(x, dw) + db."""
    incoming, d_weight, d_bias = of(images), of(weight), of(bias)
    from_weight = None if d_weight is None else func(images, d_weight, d_bias, *options)
    from_images = None if incoming is None else func(incoming, weight, d_bias if d_weight is None else None, *options)
    return _sum(from_weight, from_images)


def _leaky_relu(incoming: Tensor, value: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """One pass instead of torch.where's three; the value's sign is that of what it was made from."""
    return torch.ops.aten.leaky_relu_backward(incoming, value, negative_slope, True)


def _concatenation(of: TangentOf, tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    tangents = [of(tensor) for tensor in tensors]
    if all(tangent is None for tangent in tangents):
        return None
    pairs = zip(tangents, tensors, strict=True)
    return torch.cat([torch.zeros_like(x) if tangent is None else tangent for tangent, x in pairs], dim)


def _instance_norm(
    of: TangentOf,
    images: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """With y = (x - mean) / sd: dy = (dx - mean(dx) - y * mean(y * dx)) / sd; then the affine part's product rule."""
    axes = tuple(range(2, images.ndim))

    def per_channel(values: Tensor) -> Tensor:
        return values.view(1, -1, *[1] * len(axes))

    variance, mean = torch.var_mean(images, axes, correction=0, keepdim=True)
    scale = (variance + eps).rsqrt()
    normal = (images - mean).mul_(scale)
    incoming, d_weight, d_bias = of(images), of(weight), of(bias)
    found = None
    if incoming is not None:
        along = (incoming * normal).mean(axes, keepdim=True)
        found = (incoming - incoming.mean(axes, keepdim=True)).addcmul_(normal, -along)
        found.mul_(scale if weight is None else scale * per_channel(weight))
    if d_weight is not None:
        product = per_channel(d_weight)
        found = normal * product if found is None else found.addcmul_(normal, product)
    if d_bias is not None:
        found = torch.zeros_like(images) + per_channel(d_bias) if found is None else found.add_(per_channel(d_bias))
    return found
