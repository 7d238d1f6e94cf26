"""Logits for training and their tangents from one evaluation of the network.

`logit_tangents` evaluates the network a second time beside the training pass, because automatic differentiation carries
values and tangents together. Here the training pass is recorded, and then replayed: every operation hands out the value
it had, and only tangents are computed. They are the same up to rounding; no activation is kept that the backward pass
would not keep.

The derivatives are those of `maths/tangents/derivatives`. Any operation without one raises `NotReplayable`, and so does
a layer with running statistics or a value of unknown origin; `logit_tangents` is for those, for autocast and for
compiled networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from nnunetv2_mlbseg.maths.tangents.derivatives import RULES, NotReplayable, Operation, derivative, name_of
from nnunetv2_mlbseg.maths.tangents.forward import Direction, Outputs
from nnunetv2_mlbseg.networks.surgery import plain_network


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
            raise NotReplayable(name_of(func))
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
        tangent = derivative(Operation(func, noted.value, self.of), args, kwargs or {})
        if noted.in_place and "tangent" not in args[0].__dict__:
            raise NotReplayable("an input or a buffer that is overwritten")
        stand_in: Tensor = args[0] if noted.in_place else noted.value.detach()
        stand_in.__dict__["tangent"] = tangent
        return stand_in
