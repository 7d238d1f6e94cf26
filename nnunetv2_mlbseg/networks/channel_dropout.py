"""Dropout of whole channels, drawn from a generator of its own, without a layer in the network."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_channels(features: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Set some channels of each image to 0, and scale up the others, so that the mean stays (Tompson et al. 2015).

    Args:
        features: (B, F, *S). Gradient flows.
        share: Of the channels that fall out, on average; below 1.
        generator: On the device of ``features``.
    """
    shape = (*features.shape[:2], *[1] * (features.ndim - 2))
    kept = torch.rand(shape, generator=generator, device=features.device) >= share
    return features * kept.to(features.dtype) / (1 - share)
