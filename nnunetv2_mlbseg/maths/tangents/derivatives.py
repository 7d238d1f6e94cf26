"""The derivative of every operation in nnU-Net's networks, written out in the form in which those call it.

A rule takes an operation's value and the tangents of its arguments and returns the tangent of its value, None for zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class NotReplayable(Exception):
    """The network does something that there is no derivative for."""


class Operation(NamedTuple):
    """What a rule gets to see beside the arguments of the call.

    Attributes:
        func: what was called.
        value: what it returned.
        of: from a value or a parameter to its tangent.
    """

    func: Callable[..., Tensor]
    value: Tensor
    of: Callable[[Tensor | None], Tensor | None]


def derivative(operation: Operation, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor | None:
    """What the operation's rule says; the signature of a rule is the form of the call that it covers.

    Raises:
        NotReplayable: a call of another form.
    """
    rule = RULES[operation.func]
    try:
        signature(rule).bind(operation, *args, **kwargs)
    except TypeError as error:
        raise NotReplayable(f"{name_of(operation.func)}: {error}") from None
    return rule(operation, *args, **kwargs)


def name_of(func: Any) -> str:
    """How a message calls an operation."""
    return getattr(func, "__name__", str(func))


def _sum_of_two(operation: Operation, first: Tensor, second: Tensor, /) -> Tensor | None:
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
    operation: Operation, images: Tensor, weight: Tensor, bias: Tensor | None = None, /, *options: Any
) -> Tensor | None:
    """Bilinear: conv(dx, w) + conv(x, dw) + db."""
    func, _, of = operation
    incoming, d_weight, d_bias = of(images), of(weight), of(bias)
    from_weight = None if d_weight is None else func(images, d_weight, d_bias, *options)
    from_images = None if incoming is None else func(incoming, weight, d_bias if d_weight is None else None, *options)
    return _sum(from_weight, from_images)


def _linear(operation: Operation, images: Tensor, /, *options: Any, **named: Any) -> Tensor | None:
    incoming = operation.of(images)
    return None if incoming is None else operation.func(incoming, *options, **named)


def _relu(operation: Operation, images: Tensor, /, inplace: bool = False) -> Tensor | None:
    """Decided by the result, as in torch's own derivative, which would complain if that had been overwritten."""
    incoming = operation.of(images)
    return None if incoming is None else torch.where(operation.value > 0, incoming, 0.0)


def _leaky_relu(
    operation: Operation, images: Tensor, /, negative_slope: float = 0.01, inplace: bool = False
) -> Tensor | None:
    """One pass instead of torch.where's three; decided by the result in place and by the input otherwise, as above."""
    incoming = operation.of(images)
    if incoming is None:
        return None
    return torch.ops.aten.leaky_relu_backward(incoming, images, negative_slope, inplace)


def _concatenation(operation: Operation, tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    tangents = [operation.of(tensor) for tensor in tensors]
    if all(tangent is None for tangent in tangents):
        return None
    pairs = zip(tangents, tensors, strict=True)
    return torch.cat([torch.zeros_like(x) if tangent is None else tangent for tangent, x in pairs], dim)


def _instance_norm(
    operation: Operation,
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
