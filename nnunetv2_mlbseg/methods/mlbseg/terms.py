"""The loss terms of MLB-Seg (Eq. 9, 11, 13), from outputs and weights to scalars.

"Scales" are the outputs of a network with deep supervision, finest first; without it there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.consistency import teacher_consistency, view_consistency
from nnunetv2_mlbseg.maths.labels import Mixture, WeightedLabels
from nnunetv2_mlbseg.maths.losses import mixture_cross_entropy, mixture_dice_loss
from nnunetv2_mlbseg.maths.tensors import Total, unchanged
from nnunetv2_mlbseg.maths.views import Views


def lessen_generated(weighted: Sequence[WeightedLabels], generated: Tensor, factor: Tensor) -> list[WeightedLabels]:
    """Both normalised weights of images whose imperfect label a network made, times ``factor``, at every scale.

    Such images have no rivals.

    Args:
        generated: ``(V*B,)`` bool.
        factor: a number from 0 (nothing is learned from such images but consistency) to 1.
    """
    lessened = []
    for labels in weighted:
        factors = torch.where(generated, factor, torch.ones_like(factor)).view(-1, *[1] * (labels.imperfect.ndim - 1))
        both = (labels.weight_imperfect * factors, labels.weight_pseudo * factors)
        lessened.append(replace(labels, weight_imperfect=both[0], weight_pseudo=both[1]))
    return lessened


def bootstrap_loss(
    outputs: Sequence[Tensor],
    mixtures: Sequence[Mixture],
    factors: Sequence[float],
    probabilities: Sequence[Tensor] | None = None,
) -> Tensor:
    """Eq. 9, with the rivals' term if there are any, summed over the scales with deep supervision's factors.

    Args:
        mixtures: All labels of every pixel with their weights, of every scale.
        probabilities: The softmax of ``outputs``, where the caller has it.
    """
    losses = []
    known = [None] * len(outputs) if probabilities is None else probabilities
    for z, p, mixture, factor in zip(outputs, known, mixtures, factors, strict=True):
        losses.append(factor * mixture_cross_entropy(z, mixture, p))
    return torch.stack(losses).sum()


def mixture_dice(
    probabilities: Sequence[Tensor],
    mixtures: Sequence[Mixture],
    factors: Sequence[float],
    generated: Tensor,
    total: Total = unchanged,
    groups: int = 1,
) -> Tensor:
    """:func:`~nnunetv2_mlbseg.maths.losses.mixture_dice_loss` of the images with given labels, summed over the scales.

    Args:
        generated: ``(V*B,)`` bool, whose imperfect label a network made; such images do not count.
        groups: How many groups an image has.
    """
    losses = []
    for p, mixture, factor in zip(probabilities, mixtures, factors, strict=True):
        losses.append(factor * mixture_dice_loss(p, mixture, ~generated, total, groups))
    return torch.stack(losses).sum()


def consistency_terms(
    probabilities: Tensor, teacher: Tensor | None, views: Views, view_term: bool, total: Total = unchanged
) -> dict[str, Tensor]:
    """Eq. 11 ("views") and Eq. 13 ("teacher") at full resolution, each only where it is asked for.

    Args:
        probabilities: The student's, ``(V*B, C, *S)``.
        teacher: Teacher probabilities of the same shape, or None for no Eq. 13.
        view_term: Whether to compute Eq. 11; it also needs more than one view.
        total: Sums over the processes that share a batch; the terms are then this process's shares.
    """
    terms = {}
    if view_term and len(views) > 1:
        aligned = views.invert(probabilities)
        terms["views"] = view_consistency(aligned, views.covered(aligned.shape[3:], aligned.shape[1]), total)
    if teacher is not None:
        terms["teacher"] = teacher_consistency(probabilities, teacher, total)
    return terms
