"""Contrast: vectors of a pair come near each other and away from others, with the trust that a pair has earned.

Vectors are (M, D); pairs and their masks are (M, M), row = anchor. The whole batch has to be at hand.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32

PACES = ("none", "soft", "hard")
"""How a pair's loss decides on its weight: not at all, 1 - loss / gate, or 1 up to the gate."""


def similarities(vectors: Tensor, temperature: float) -> Tensor:
    """The cosine of every two vectors, divided by the temperature, (M, M)."""
    directions = F.normalize(at_least_float32(vectors), dim=1)
    return directions @ directions.T / temperature


def pair_losses(vectors: Tensor, temperature: float, against: Tensor | None = None) -> Tensor:
    """-log of the share that a pair has of its anchor's e^similarity, for all pairs (M, M).

    Args:
        vectors: (M, D). Gradient flows into them.
        temperature: Above 0.
        against: (M, M) bool, which vectors a pair is held against, beside itself (InfoNCE: the negatives). None: all
            but the anchor (Khosla et al., NeurIPS 2020).
    """
    similar = similarities(vectors, temperature)
    if against is None:
        others = ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
        return similar.masked_fill(~others, -math.inf).logsumexp(dim=1, keepdim=True) - similar
    lowest = torch.finfo(similar.dtype).min / 2  # not infinite: an anchor may have no negative at all
    rest = similar.masked_fill(~against, lowest).logsumexp(dim=1, keepdim=True)
    return F.softplus(rest - similar)


def pace(losses: Tensor, gate: float, how: str) -> Tensor:
    """How far pairs are trusted by their losses (Peng et al., NeurIPS 2021): a weight from 0 to 1, without gradient.

    Raises:
        ValueError: an unknown ``how``, see :data:`PACES`.
    """
    losses = losses.detach()
    if how == "none":
        return torch.ones_like(losses)
    if how == "soft":
        return (1 - losses / gate).clamp_min(0)
    if how == "hard":
        return (losses <= gate).to(losses.dtype)
    raise ValueError(f"unknown pace {how!r}, expected one of {', '.join(PACES)}")


def gate_at(share: float, first: float, last: float) -> float:
    """What a pair's loss may be: from ``first`` to ``last`` with the root of the share that is done, 0 to 1."""
    return first + (last - first) * math.sqrt(share)


def contrast(losses: Tensor, pairs: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean over anchors of the mean over their pairs; an anchor without a pair does not count.

    Args:
        losses: (M, M), see :func:`pair_losses`.
        pairs: (M, M) bool; the diagonal is left out.
        weights: (M, M), see :func:`pace`; a pair without weight still counts in the mean.

    Returns:
        A scalar; 0 where there is no pair.
    """
    counted = pairs & ~torch.eye(len(losses), dtype=torch.bool, device=losses.device)
    kept = torch.where(counted, losses, 0.0)
    summed = (kept if weights is None else kept * weights).sum(dim=1)
    of_anchor, anchors = counted.sum(dim=1), counted.any(dim=1).sum()
    return (summed / of_anchor.clamp_min(1)).sum() / anchors.clamp_min(1)


def same(marks: Tensor) -> Tensor:
    """Which vectors have the same mark: (M,) int64, negative = no mark, to (M, M) bool."""
    return (marks.unsqueeze(1) == marks.unsqueeze(0)) & (marks >= 0).unsqueeze(1)


def parts_of(positions: Tensor, parts: int) -> Tensor:
    """Which of equal parts of a scan positions (M,), 0 to 1 along its slices, lie in: int64; NaN has -1."""
    found = (positions * parts).floor().clamp(0, parts - 1)
    return torch.where(positions.isnan(), -1.0, found).long()
