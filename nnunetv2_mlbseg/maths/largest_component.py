"""The largest connected component of every class.

Each pixel takes the largest number among its neighbours, and then the number that the pixel of this number has, until
nothing changes. The host asks the device for that after every round, some ten times.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

POOLS = {2: F.max_pool2d, 3: F.max_pool3d}


def largest_components(labels: Tensor, classes: int) -> Tensor:
    """Set to background what is not in the largest component of its class; corners touch.

    Args:
        labels: (B, *S) int64, none negative, fewer than 2**24 pixels each.
        classes: C, the background included.
    """
    numbers = torch.arange(1, classes, device=labels.device).view(1, -1, *[1] * (labels.ndim - 1))
    inside = labels.unsqueeze(1) == numbers
    found = components(inside).flatten(2)
    sizes = torch.zeros(*found.shape[:2], found.shape[2] + 1, device=labels.device)
    sizes.scatter_add_(2, found, torch.ones_like(found, dtype=sizes.dtype))
    sizes[..., 0] = -1  # of what is outside
    largest = (found == sizes.argmax(dim=2, keepdim=True)).view(inside.shape) & inside
    return torch.where(largest.any(dim=1), labels, 0)


def components(inside: Tensor) -> Tensor:
    """The same number from 1 on at all pixels of a component, another one for each, 0 outside.

    Args:
        inside: (B, C, *S) bool.

    Returns:
        (B, C, *S) int64.
    """
    pool, count = POOLS[inside.ndim - 2], inside[0, 0].numel()
    places = torch.arange(1, count + 1, device=inside.device).view(inside.shape[2:])
    found = torch.where(inside, places, 0)
    while True:
        spread = torch.where(inside, pool(found.float(), 3, stride=1, padding=1).long(), 0).flatten(2)
        spread = torch.where(spread > 0, spread.gather(2, (spread - 1).clamp_min(0)), 0).view(found.shape)
        if torch.equal(spread, found):
            return found
        found = spread
