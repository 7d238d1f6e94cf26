"""The corrected label: the given one, replaced where the evidence against it is strong."""

from __future__ import annotations

import torch
from torch import Tensor


def proposed_label(belief: Tensor, given: Tensor, evidence: float) -> Tensor:
    """The most probable class where the given label is wrong with at least the probability ``evidence``, else given.

    Args:
        belief: (C, *S), probabilities of the true class.
        given: (*S) int64, negative = no label; stays as it is.
        evidence: 0 to 1. Where the given class is the most probable one all the same, it stays.
    """
    own = belief.gather(0, given.clamp_min(0).unsqueeze(0)).squeeze(0)
    replace = (given >= 0) & (1 - own >= evidence) & (belief.argmax(dim=0) != given)
    return torch.where(replace, belief.argmax(dim=0), given)
