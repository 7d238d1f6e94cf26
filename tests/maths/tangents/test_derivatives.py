"""Every written derivative against that of torch's own differentiation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.tangents.derivatives import RULES, NotReplayable, Operation, derivative

X, Y = torch.randn(2, 2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
V = torch.randn(2, 3, 6, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
KERNEL = torch.randn(4, 3, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
BIAS, SCALE = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
FLAT = KERNEL[..., 0]
CALLS: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...], dict[str, Any]]] = {
    "conv2d": (torch.conv2d, (X, FLAT, BIAS, [2, 2], [1, 1], [1, 1], 1), {}),
    "conv2d without bias": (torch.conv2d, (X, FLAT, None, [1, 1]), {}),
    "conv3d": (torch.conv3d, (V, KERNEL, BIAS, [1, 2, 2], [1, 1, 1]), {}),
    "conv_transpose2d": (torch.conv_transpose2d, (X, FLAT.transpose(0, 1), BIAS, [2, 2]), {}),
    "conv_transpose3d": (torch.conv_transpose3d, (V, KERNEL.transpose(0, 1), BIAS, [1, 2, 2]), {}),
    "avg_pool2d": (F.avg_pool2d, (X, 2, 2), {}),
    "avg_pool3d": (F.avg_pool3d, (V, (1, 2, 2)), {}),
    "interpolate": (F.interpolate, (X,), {"scale_factor": 2, "mode": "bilinear"}),
    "add": (torch.add, (X, Y), {}),
    "tensor.add": (torch.Tensor.add, (X, Y), {}),
    "+": (torch.Tensor.__add__, (X, Y), {}),
    "instance_norm": (F.instance_norm, (X, None, None, SCALE[:3], BIAS[:3], True, 0.1, 1e-5), {}),
    "instance_norm without affine part": (F.instance_norm, (V,), {}),
    "leaky_relu": (F.leaky_relu, (X, 0.1), {}),
    "relu": (F.relu, (X,), {}),
    "cat": (torch.cat, ((X, Y), 1), {}),
}
IN_PLACE = {torch.Tensor.add_, torch.Tensor.__iadd__}
"""Covered by whole networks, where an overwritten value is what matters."""


def floating(arguments: Any) -> list[Tensor]:
    """The tensors of a call, in order."""
    flat = [one for each in arguments for one in (each if isinstance(each, tuple) else (each,))]
    return [one for one in flat if isinstance(one, Tensor)]


def with_tensors(arguments: tuple[Any, ...], tensors: list[Tensor]) -> tuple[Any, ...]:
    left = iter(tensors)

    def replaced(each: Any) -> Any:
        if isinstance(each, tuple):
            return tuple(replaced(one) for one in each)
        return next(left) if isinstance(each, Tensor) else each

    return tuple(replaced(each) for each in arguments)


def test_every_rule_has_a_call_here() -> None:
    assert {func for func, _, _ in CALLS.values()} == set(RULES) - IN_PLACE


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("moved", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_a_rule_is_the_derivative(name: str, moved: tuple[int, ...]) -> None:
    """Tangents of the first, second and third tensor of the call, or of some of them; the others stay."""
    func, arguments, named = CALLS[name]
    tensors = floating(arguments)
    generator = torch.Generator().manual_seed(4)
    drawn = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in tensors]
    tangents = {id(t): d for number, (t, d) in enumerate(zip(tensors, drawn, strict=True)) if number in moved}
    value = func(*arguments, **named)
    found = derivative(Operation(func, value, lambda t: None if t is None else tangents.get(id(t))), arguments, named)
    if not tangents:
        assert found is None
        return
    along = tuple(d if id(t) in tangents else torch.zeros_like(t) for t, d in zip(tensors, drawn, strict=True))
    _, expected = torch.autograd.functional.jvp(
        lambda *those: func(*with_tensors(arguments, list(those)), **named), tuple(tensors), along
    )
    torch.testing.assert_close(found, expected)


def test_a_call_of_another_form_is_refused() -> None:
    operation = Operation(torch.cat, torch.cat((X, Y), 1), lambda _: None)
    with pytest.raises(NotReplayable, match=r"cat: .*axis"):
        derivative(operation, ((X, Y),), {"axis": 1})
    with pytest.raises(NotReplayable, match="two tensors of one shape"):
        derivative(Operation(torch.add, X + 1, lambda _: None), (X, 1.0), {})
