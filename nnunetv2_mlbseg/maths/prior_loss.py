"""Cross-entropy that counts where a class is hard to see or unlikely to be, after Zheng et al. (MICCAI 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.losses import pixel_cross_entropy


def prior_loss(logits: Tensor, labels: Tensor, likelihood: Tensor, prior: Tensor) -> Tensor:
    """[(1 - q_y)^2 + (1 - A_y)^2] (-log p_y) at every pixel: a focal loss, and the same with a prior in it.

    Args:
        logits: (B, C, *S). Gradient flows into them.
        labels: y, (B, *S) int64, negative = ignored.
        likelihood: q, (B, C, *S), probabilities of another network. No gradient flows into them.
        prior: A, (B, C, *S), how often each class is at this place. No gradient flows into it.

    Returns:
        (B, *S), 0 where the label is ignored.
    """
    of_label = (maps.detach().gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1) for maps in (likelihood, prior))
    weights = torch.stack([(1 - value).square() for value in of_label]).sum(dim=0)
    return weights * pixel_cross_entropy(logits, labels)
