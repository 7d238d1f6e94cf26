"""Blends of two images and of their labels (mix-up, Zhang et al., ICLR 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import Mixture


def blended(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """share * first + (1 - share) * second, (B, F, *S) each.

    Args:
        share: (B,), of every image, from 0 to 1.
    """
    return torch.lerp(second, first, _like(share, first).to(first.dtype))


def blended_labels(first: Tensor, second: Tensor, share: Tensor) -> Mixture:
    """The same of labels, (B, *S) int64 each; a pixel that is ignored (negative) in either has no label.

    One-hot labels are blended, not class numbers: half 1 and half 3 is not 2.
    """
    known = ((first >= 0) & (second >= 0)).to(share.dtype)
    of_first = known * _like(share, first)
    return Mixture.of([first, second], [of_first, known - of_first])


def _like(share: Tensor, images: Tensor) -> Tensor:
    return share.view(-1, *[1] * (images.ndim - 1))
