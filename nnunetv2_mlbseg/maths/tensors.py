"""Floating-point precision shared by the maths modules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]
"""From a sum over this process's images to the sum over the whole batch; no gradient flows."""


def unchanged(value: Tensor) -> Tensor:
    """The `Total` where one process holds the whole batch."""
    return value


def share_of_mean(values: Tensor, total: Total) -> Tensor:
    """What ``values`` contribute to the mean over the whole batch; their mean where one process holds all of it."""
    if total is unchanged:
        return values.mean()
    return values.sum() / total(values.new_full((), values.numel()))


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` as float32, or unchanged if it already is float32 or float64.

    Sums over a whole batch of pixels overflow or lose their last digits in half precision. Gradient flows through.
    """
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    return tensor.to(torch.float32)


def sums_of_products(first: Tensor, second: Tensor) -> Tensor:
    """The sum over all pixels of two maps' product: (B, C, *S) and (B, C or 1, *S) to (B, C).

    On the CPU as a product of matrices, which makes no third volume. A GPU may take such products in half precision or
    TF32, and has new memory at once.
    """
    if first.is_cuda:
        return (first * second).flatten(2).sum(dim=2)
    if second.shape[1] == 1:
        return (first.flatten(2) @ second.flatten(2).transpose(1, 2)).flatten(1)
    return (first.flatten(2).unsqueeze(2) @ second.flatten(2).unsqueeze(3)).flatten(1)


def softmax_(logits: Tensor) -> Tensor:
    """Probabilities (B, C, *S) in the place of logits that nobody needs any more. No gradient flows.

    In place because new memory costs more than the exponentials, where volumes are large and on the CPU.
    """
    exponentials = logits.sub_(logits.amax(dim=1, keepdim=True)).exp_()
    return exponentials.div_(exponentials.sum(dim=1, keepdim=True))


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """A block with autocast off. A device type that torch has no autocast for (MPS before torch 2.5) needs nothing."""
    try:
        return torch.autocast(device_type, enabled=False)
    except RuntimeError:
        return nullcontext()
