"""The probability of every class at a voxel, given the image and the given label; and what follows for the label.

The three witnesses are those of :mod:`nnunetv2_mlbseg.tied_weights`, here as probabilities over all classes instead of
the odds of two: the network, how given labels err (their confusion matrix) and what the clean batches said.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.tensors import at_least_float32
from nnunetv2_mlbseg.tied_weights import LEAST_CONFUSION, LEAST_PROBABILITY, DisputeRecord


@torch.no_grad()
def posterior(probabilities: Tensor, given: Tensor, record: DisputeRecord | None, strength: float) -> Tensor:
    """The probability of class t where the label n is given, proportional to e_t M[t, n] exp(-strength G[n, t]).

    Restricted to n and one other class it has the odds of :func:`~nnunetv2_mlbseg.tied_weights.tied_weights`.

    Args:
        probabilities: e, (C, *S), the network's.
        given: n, (*S) int64, negative = no label; there the network speaks alone.
        record: M and G; None: the network speaks alone everywhere.
        strength: what a preference of 1 adds to the log-odds.

    Returns:
        (C, *S), adds up to 1. No gradient flows.
    """
    scores = (at_least_float32(probabilities) + LEAST_PROBABILITY).log()
    if record is not None:
        table = (record.confusion + LEAST_CONFUSION).log() - strength * record.preference[0].T  # [t, n]
        witness = table[:, given.clamp_min(0)]
        scores = scores + torch.where(given >= 0, witness.to(scores.dtype), 0.0)
    return scores.softmax(dim=0)


def suspicion(belief: Tensor, given: Tensor) -> Tensor:
    """The probability that the given label is wrong: (*S) from 0 to 1, 0 where there is none.

    Args:
        belief: (C, *S), of :func:`posterior` (or any probabilities).
        given: (*S) int64, negative = no label.
    """
    own = belief.gather(0, given.clamp_min(0).unsqueeze(0)).squeeze(0)
    return torch.where(given >= 0, 1 - own, 0.0).clamp(0, 1)


def uncertainty(probabilities: Tensor) -> Tensor:
    """Entropy of (C, *S) over its largest value, log C: (*S) from 0 (certain) to 1 (all classes alike)."""
    terms = torch.special.entr(at_least_float32(probabilities)).sum(dim=0)
    return (terms / torch.log(torch.tensor(float(probabilities.shape[0])))).clamp(0, 1)
