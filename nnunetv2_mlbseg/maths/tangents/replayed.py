"""Logits for training and their tangents from one evaluation of the network.

`logit_tangents` evaluates the network a second time beside the training pass, because automatic differentiation carries
values and tangents together. Here the training pass is recorded, and then replayed: every operation hands out the value
it had, and only tangents are computed. They are the same up to rounding; no activation is kept that the backward pass
would not keep.

The derivatives are written out for the operations of nnU-Net's networks, in the form in which those call them. Any
other operation or form raises `NotReplayable`, and so does a layer with running statistics or a value of unknown
origin; `logit_tangents` is for those, for autocast and for compiled networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from nnunetv2_mlbseg.maths.tangents.forward import Direction, Outputs
from nnunetv2_mlbseg.networks.surgery import plain_network


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
    tangents: dict[int, Tensor | None] = {id(constant): None for constant in (images, *module.buffers())}
    tangents |= {id(parameter): tangent for parameter, tangent in pairs}
    with _Recording() as recording:
        outputs = module(images)
    with torch.no_grad(), _Replay(recording.calls, tangents) as replay:
        replayed = module(images)
    if isinstance(outputs, Tensor):
        return outputs, replay.tangent_of(replayed, outputs)
    return list(outputs), [replay.tangent_of(z, like) for z, like in zip(replayed, outputs, strict=True)]


class _Noted(NamedTuple):
    """One operation of the training pass; ``in_place`` if its value took the place of its first argument's."""

    func: Callable[..., Any]
    value: Tensor
    in_place: bool


class _Recording(TorchFunctionMode):
    """Notes the value of every operation."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_Noted] = []

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func in RULES:
            self.calls.append(_Noted(func, found, bool(args) and found is args[0]))
        elif any(isinstance(leaf, Tensor) for leaf in tree_leaves(found)):
            raise NotReplayable(_name(func))
        return found


class _Replay(TorchFunctionMode):
    """Hands out the noted values and computes the tangents that belong to them.

    A tangent lives as long as the stand-in for its value, which is as long as the network holds it.

    Args:
        tangents: Those of all parameters, buffers and inputs, by id; None for zero.
    """

    def __init__(self, calls: Sequence[_Noted], tangents: dict[int, Tensor | None]) -> None:
        super().__init__()
        self.calls = iter(calls)
        self.tangents = tangents

    def of(self, value: Tensor | None) -> Tensor | None:
        """The tangent of a parameter or of a value; None for zero."""
        if value is None:
            return None
        if id(value) in self.tangents:
            return self.tangents[id(value)]
        if "tangent" not in value.__dict__:
            raise NotReplayable("a value that none of the recorded operations made")
        tangent: Tensor | None = value.__dict__["tangent"]
        return tangent

    def tangent_of(self, value: Tensor, like: Tensor) -> Tensor:
        """The tangent of an output."""
        tangent = self.of(value)
        return torch.zeros_like(like) if tangent is None else tangent

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if func not in RULES:
            return func(*args, **(kwargs or {}))  # sizes and the like; the recording has seen that it is no value
        noted = next(self.calls, None)
        if noted is None or noted.func is not func:
            raise NotReplayable("a network that does not do the same twice")
        tangent = _derivative(_Operation(func, noted.value, self.of), args, kwargs or {})
        if noted.in_place and "tangent" not in args[0].__dict__:
            raise NotReplayable("an input or a buffer that is overwritten")
        stand_in: Tensor = args[0] if noted.in_place else noted.value.detach()
        stand_in.__dict__["tangent"] = tangent
        return stand_in


class _Operation(NamedTuple):
    """What a rule gets to see beside the arguments of the call."""

    func: Callable[..., Tensor]
    value: Tensor
    of: Callable[[Tensor | None], Tensor | None]


def _derivative(operation: _Operation, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """What the operation's rule says; the signature of a rule is the form of the call that it covers."""
    rule = RULES[operation.func]
    try:
        signature(rule).bind(operation, *args, **kwargs)
    except TypeError as error:
        raise NotReplayable(f"{_name(operation.func)}: {error}") from None
    return rule(operation, *args, **kwargs)


def _name(func: Any) -> str:
    return getattr(func, "__name__", str(func))


def _sum_of_two(operation: _Operation, first: Tensor, second: Tensor, /) -> Tensor | None:
    if not (isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape):
        raise NotReplayable("a sum of other things than two tensors of one shape")
    return _sum(operation.of(first), operation.of(second))


def _sum(*tangents: Tensor | None) -> Tensor | None:
    """Of two; None is zero."""
    first, second = tangents
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _convolution(
    operation: _Operation, images: Tensor, weight: Tensor, bias: Tensor | None = None, /, *options: Any
) -> Tensor | None:
    """Bilinear: conv(dx, w) + conv(x, dw) + db."""
    func, _, of = operation
    incoming, d_weight, d_bias = of(images), of(weight), of(bias)
    from_weight = None if d_weight is None else func(images, d_weight, d_bias, *options)
    from_images = None if incoming is None else func(incoming, weight, d_bias if d_weight is None else None, *options)
    return _sum(from_weight, from_images)


def _linear(operation: _Operation, images: Tensor, /, *options: Any, **named: Any) -> Tensor | None:
    incoming = operation.of(images)
    return None if incoming is None else operation.func(incoming, *options, **named)


def _relu(operation: _Operation, images: Tensor, /, inplace: bool = False) -> Tensor | None:
    """Decided by the result, as in torch's own derivative, which would complain if that had been overwritten."""
    incoming = operation.of(images)
    return None if incoming is None else torch.where(operation.value > 0, incoming, 0.0)


def _leaky_relu(
    operation: _Operation, images: Tensor, /, negative_slope: float = 0.01, inplace: bool = False
) -> Tensor | None:
    """One pass instead of torch.where's three; decided by the result in place and by the input otherwise, as above."""
    incoming = operation.of(images)
    if incoming is None:
        return None
    return torch.ops.aten.leaky_relu_backward(incoming, images, negative_slope, inplace)


def _concatenation(operation: _Operation, tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    tangents = [operation.of(tensor) for tensor in tensors]
    if all(tangent is None for tangent in tangents):
        return None
    pairs = zip(tangents, tensors, strict=True)
    return torch.cat([torch.zeros_like(x) if tangent is None else tangent for tangent, x in pairs], dim)


def _instance_norm(
    operation: _Operation,
    images: Tensor,
    /,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """With y = (x - mean) / sd: dy = (dx - mean(dx) - y * mean(y * dx)) / sd; then the affine part's product rule."""
    if running_mean is not None or running_var is not None or not use_input_stats:
        raise NotReplayable("instance_norm with running statistics")
    of, axes = operation.of, tuple(range(2, images.ndim))

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


RULES: dict[Callable[..., Any], Callable[..., Tensor | None]] = {
    **dict.fromkeys((torch.conv2d, torch.conv3d, torch.conv_transpose2d, torch.conv_transpose3d), _convolution),
    **dict.fromkeys((F.avg_pool2d, F.avg_pool3d, F.interpolate), _linear),
    **dict.fromkeys(
        (torch.add, torch.Tensor.add, torch.Tensor.add_, torch.Tensor.__add__, torch.Tensor.__iadd__), _sum_of_two
    ),
    F.instance_norm: _instance_norm,
    F.leaky_relu: _leaky_relu,
    F.relu: _relu,
    torch.cat: _concatenation,
}
"""The derivative of every operation that can be replayed."""
