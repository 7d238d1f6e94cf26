"""A network's outputs whose graph holds no activations: the gradient is taken of one part of the images after another.

Losses couple images: Dice, agreement of views, weights that are normalised over a batch. But they do so through the
outputs alone. So by the chain rule the gradient of any loss is the sum, over the parts of the batch, of the gradient of
a part's outputs in the direction of what the loss says of them. This is exact for networks that treat images one by
one. It holds the activations of one part, and costs one forward pass more of all parts but the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Passed = Callable[[Tensor], list[Tensor]]
"""From images ``(B, channels, *S)`` to outputs ``(B, C, *S)`` at every scale, with their graph where there is one."""


def in_parts(
    passed: Passed,
    images: Tensor,
    size: int,
    parameters: Sequence[nn.Parameter],
    known: Sequence[Tensor] | None = None,
    groups: int = 1,
) -> list[Tensor]:
    """What ``passed`` makes of the images; gradient flows into the parameters, and not into the images.

    Args:
        passed: called twice with the same part, it must do the same.
        size: of a part, in images.
        known: outputs of the first images at all scales, which need no pass before the backward one.
        groups: rows of an output that an image has (see `maths/label_space`).
    """
    return list(_InParts.apply(passed, images, size, groups, known, *parameters))


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        passed: Passed,
        images: Tensor,
        size: int,
        groups: int,
        known: Sequence[Tensor] | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.passed, ctx.size, ctx.parameters = passed, size, parameters
        ctx.save_for_backward(images)
        *others, last = images.split(size)
        rows = size * groups
        wholly = 0 if known is None else len(known[0]) // rows
        found = [] if known is None else [[one[: rows * min(wholly, len(others))].detach() for one in known]]
        found += [passed(part) for part in others[wholly:]]
        with torch.enable_grad():  # the backward pass begins with this part
            ctx.last = passed(last)
        found.append([one.detach() for one in ctx.last])
        return tuple(torch.cat(scale) for scale in zip(*found, strict=True))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (images,) = ctx.saved_tensors
        of_all: list[Tensor | None] = [None] * len(ctx.parameters)
        outputs, ctx.last = ctx.last, None
        rows = ctx.size * (len(gradients[0]) // len(images))
        parts = zip(images.split(ctx.size), *(whole.split(rows) for whole in gradients), strict=True)
        for part, *of_outputs in reversed(list(parts)):
            with torch.enable_grad():
                outputs = outputs or ctx.passed(part)
            _add_(of_all, torch.autograd.grad(outputs, ctx.parameters, of_outputs, allow_unused=True))
            outputs = None
        return (None, None, None, None, None, *of_all)


def _add_(sums: list[Tensor | None], more: Sequence[Tensor | None]) -> None:
    for number, one in enumerate(more):
        before = sums[number]
        sums[number] = one if before is None else before if one is None else before + one
