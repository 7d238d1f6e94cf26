"""Early-learning regularisation (Liu et al., NeurIPS 2020): hold a network to what it believed before it learned noise.

A network learns what labels have in common first, and later what single ones say. Targets t from earlier, or from a
mean teacher, remember the first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32

CLIP = 1e-4
"""Probabilities stay this far from 0 and 1, as in the authors' script: log(1 - t p) has no bound where both are 1."""


def early_learning(probabilities: Tensor, targets: Tensor) -> Tensor:
    """log(1 - sum_c t_c p_c) of every pixel: the lower, the more the network agrees with the targets.

    Its gradient for logit k is -p_k (t_k - t p) / (1 - t p): it grows with the agreement, and so cancels that of
    cross-entropy where the label contradicts what network and target are sure of.

    Args:
        probabilities: (B, C, *S). Gradient flows into them.
        targets: (B, C, *S), earlier probabilities of the same pixels. Constants: no gradient flows into them.

    Returns:
        (B, *S), in nats, at most 0 and at least log(1e-4).
    """
    clipped = at_least_float32(probabilities).clamp(CLIP, 1 - CLIP)
    agreement = (targets.detach() * clipped).sum(dim=1)
    return torch.log1p(-agreement.clamp_max(1 - CLIP))
