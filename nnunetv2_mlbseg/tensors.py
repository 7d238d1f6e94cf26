"""Floating-point precision shared by the maths modules."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Return ``tensor`` as float32, or unchanged if it already is float32 or float64.

    Sums over a whole batch of pixels overflow or lose their last digits in half precision. Gradient flows through.
    """
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    return tensor.to(torch.float32)
