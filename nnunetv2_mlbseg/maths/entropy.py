"""Entropy of predictions, in nats: how unsure a network is of every pixel."""

from __future__ import annotations

import math

from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32


def entropy_of_logits(logits: Tensor) -> Tensor:
    """-sum_c p_c log p_c of the softmax, (B, C, *S) to (B, *S), from 0 to ln C. Gradient flows into the logits.

    With p * log_softmax there is no logarithm of 0, also in half precision.
    """
    log_p = at_least_float32(logits).log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def entropy(probabilities: Tensor) -> Tensor:
    """The same of probabilities, (B, C, *S) to (B, *S). Gradient flows into them, none where one is 0."""
    p = at_least_float32(probabilities)
    return -(p * p.clamp_min(1e-20).log()).sum(dim=1)


def relative_entropy_of_logits(logits: Tensor) -> Tensor:
    """:func:`entropy_of_logits` over its largest value, ln C: 1 for a uniform prediction, 0 for a certain one."""
    return entropy_of_logits(logits) / math.log(logits.shape[1])
