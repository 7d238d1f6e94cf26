"""From raw weights to those of Eq. 9: no negative ones (Eq. 7), scaled over the whole batch (Eq. 8)."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged

NORMALIZATIONS = ("sum", "joint", "accepted")
"""The ways `normalize_weights` knows."""


def normalize_weights(
    w_imperfect: Tensor, w_pseudo: Tensor, how: str, eps: float = 1e-8, total: Total = unchanged
) -> tuple[Tensor, Tensor]:
    """Drop negative weights (Eq. 7), then scale the rest over the whole batch.

    Weights that are not finite (an overflow in the tangent pass) count as 0. A map without a positive weight stays
    all zero.

    Args:
        w_imperfect, w_pseudo: (B, *S) raw weights for the imperfect and for the pseudo labels.
        how: "sum": each map is divided by its own sum + eps (Eq. 8). "joint": both by their common sum + eps, as the
            authors' script does. "accepted": the n positive weights of a map become 1/n each (only their sign is used).
        eps: the small constant of Eq. 8, in the unit of the raw weights.
        total: sums over the processes that share a batch, so that the whole batch is what is normalised.

    Returns:
        The two maps, (B, *S) each, no unit.

    Raises:
        ValueError: an unknown ``how``.
    """
    maps = [_non_negative(w_imperfect), _non_negative(w_pseudo)]
    if how == "accepted":
        maps = [(weights > 0).to(weights.dtype) for weights in maps]
        totals = [total(weights.sum()).clamp_min(1) for weights in maps]
    elif how == "joint":
        totals = [total(maps[0].sum() + maps[1].sum()) + eps] * 2
    elif how == "sum":
        totals = [total(weights.sum()) + eps for weights in maps]
    else:
        raise ValueError(f"unknown normalization {how!r}, expected one of {', '.join(NORMALIZATIONS)}")
    return maps[0] / totals[0], maps[1] / totals[1]


@torch.no_grad()
def normalized_parts(
    part_n: Tensor, part_p: Tensor, how: str, total: Total = unchanged
) -> tuple[Tensor, Tensor, Tensor]:
    """Both parts and the rival's, which is what they leave of 1, normalised (Eq. 7, 8).

    Pseudo label and rival count as one map: with ``joint`` everything adds up to 1, with ``sum`` the imperfect label's
    map does and the other two together.

    Args:
        part_n, part_p: (B, *S), what `tied_weights` returns; both 0 where a pixel has no label.
        how: see :func:`normalize_weights`.
        total: sums over the processes that share a batch.

    Returns:
        Weights of imperfect label, pseudo label and rival, (B, *S) each, no unit.
    """
    left = torch.where(part_n + part_p > 0, 1 - part_n - part_p, 0.0).clamp_min(0)
    weight_n, others = normalize_weights(part_n, part_p + left, how, total=total)
    weight_r = others * left / (part_p + left).clamp_min(torch.finfo(left.dtype).tiny)
    return weight_n, others - weight_r, weight_r


def _non_negative(weights: Tensor) -> Tensor:
    return torch.nan_to_num(at_least_float32(weights.detach()), nan=0.0, posinf=0.0, neginf=0.0).clamp_min(0)
