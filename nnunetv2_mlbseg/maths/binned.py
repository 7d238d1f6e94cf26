"""Sums of maps over the pixels of every kind, right for billions of pixels and quick on a GPU.

Float32 counts ones up to 2**24 and then stands still: less than two patches of 208 x 208 x 208. So the CPU sums up in
float64. On a GPU most pixels would wait for the same few bins; there the sums are products with one-hot matrices, of
few pixels each, which are added up in pairs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PIXELS = 2**18
"""Of a part, at most. Parts are added up in float64, and hold a copy of their pixels in it."""
PRODUCT = 1024
"""Pixels of a product."""
ONE_HOT = 2**26
"""Elements of all one-hot matrices of a part, at most."""


@torch.no_grad()
def binned(rows: Tensor, bins: Tensor, count: int) -> Tensor:
    """[b, r, k]: row r of image b, summed over the pixels whose bin is k. Nothing waits for the device.

    Args:
        rows: (B, R, N), float32 or float64.
        bins: (B, N), whole numbers below ``count``; negative: the pixel counts nowhere.

    Returns:
        (B, R, count).
    """
    on_cpu = rows.device.type == "cpu" and not rows.is_cuda
    size = PIXELS if on_cpu else max(PRODUCT, min(PIXELS, ONE_HOT // (len(bins) * count)))
    add = _scattered if on_cpu else _products
    wide = torch.float32 if rows.device.type == "mps" else torch.float64  # which MPS lacks
    sums = rows.new_zeros(*rows.shape[:2], count, dtype=wide)
    for part, of_part in zip(rows.split(size, dim=2), bins.split(size, dim=1), strict=True):
        sums += add(part, of_part, count)
    return sums.to(rows.dtype)


def _scattered(rows: Tensor, bins: Tensor, count: int) -> Tensor:
    index = torch.where(bins < 0, count, bins.long()).unsqueeze(1).expand_as(rows)
    sums = rows.new_zeros(*rows.shape[:2], count + 1, dtype=torch.float64)
    return sums.scatter_add_(2, index, rows.double())[..., :count]


def _products(rows: Tensor, bins: Tensor, count: int) -> Tensor:
    more = -rows.shape[2] % PRODUCT
    rows = F.pad(rows, (0, more)).unflatten(2, (-1, PRODUCT)).transpose(1, 2)
    bins = F.pad(bins, (0, more), value=-1).unflatten(1, (-1, PRODUCT))
    one_hot = bins.unsqueeze(3) == torch.arange(count, device=bins.device)
    return (rows @ one_hot.to(rows.dtype)).sum(dim=1)
