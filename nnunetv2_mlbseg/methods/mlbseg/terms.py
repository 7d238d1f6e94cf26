"""The terms of a bootstrapping step and what its log tells of them, composed from the maths modules.

Knows neither nnU-Net nor files, devices, or precision; the trainer owns those. "Scales" are the outputs of a network
with deep supervision, finest first; without it there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.consistency import teacher_consistency, view_consistency
from nnunetv2_mlbseg.maths.labels import WeightedLabels, as_labels
from nnunetv2_mlbseg.maths.losses import mixture_dice_loss, weighted_cross_entropy
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
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


def bootstrap_loss(outputs: Sequence[Tensor], weighted: Sequence[WeightedLabels], factors: Sequence[float]) -> Tensor:
    """Eq. 9, with the rivals' term if there are any, summed over the scales with deep supervision's factors."""
    return torch.stack(
        [
            factor * weighted_cross_entropy(z, label, weight)
            for z, labels, factor in zip(outputs, weighted, factors, strict=True)
            for label, weight in labels.pairs()
        ]
    ).sum()


def mixture_dice(
    outputs: Sequence[Tensor],
    weighted: Sequence[WeightedLabels],
    factors: Sequence[float],
    generated: Tensor,
    total: Total = unchanged,
) -> Tensor:
    """:func:`~nnunetv2_mlbseg.maths.losses.mixture_dice_loss` of the images with given labels, summed over the scales.

    Args:
        generated: ``(V*B,)`` bool, whose imperfect label a network made; such images do not count.
    """
    losses = []
    for z, w, factor in zip(outputs, weighted, factors, strict=True):
        labels, weights = zip(*w.pairs(), strict=True)
        losses.append(factor * mixture_dice_loss(z, labels, weights, ~generated, total))
    return torch.stack(losses).sum()


def consistency_terms(
    output: Tensor, teacher: Tensor | None, views: Views, view_term: bool, total: Total = unchanged
) -> dict[str, Tensor]:
    """Eq. 11 ("views") and Eq. 13 ("teacher") at full resolution, each only where it is asked for.

    Args:
        output: Student logits ``(V*B, C, *S)``.
        teacher: Teacher probabilities of the same shape, or None for no Eq. 13.
        view_term: Whether to compute Eq. 11; it also needs more than one view.
        total: Sums over the processes that share a batch; the terms are then this process's shares.
    """
    probabilities = at_least_float32(output).softmax(dim=1)
    terms = {}
    if view_term and len(views) > 1:
        terms["views"] = view_consistency(views.invert(probabilities), views.covered(output.shape[2:]), total)
    if teacher is not None:
        terms["teacher"] = teacher_consistency(probabilities, teacher, total)
    return terms


@torch.no_grad()
def statistics(weighted: WeightedLabels, views: int = 1, total: Total = unchanged) -> dict[str, Tensor]:
    """What the log keeps of the weights at one scale, on the device: scalars, and vectors with one entry per view.

    Args:
        views: V; the batch is view-major.
        total: Sums over the processes that share a batch; the values are then this process's shares.

    ``weight_*``: mean of the positive part of the raw weights over labelled pixels; ``share_*``: share of labelled
    pixels with a weight; ``agreement``: share of pixels with both labels where the two are the same.
    ``weight_*_by_view`` ``(V,)``: the mean for each view; ``sum_*_by_view`` ``(V,)``: what the normalised weights of
    each view add up to.
    """
    found = {}
    for name in ("imperfect", "pseudo"):
        labels, raw, weight = (getattr(weighted, field) for field in (name, f"raw_{name}", f"weight_{name}"))
        labelled = total((labels >= 0).sum()).clamp_min(1)
        raw = torch.nan_to_num(raw).clamp_min(0)
        found[f"weight_{name}"] = raw.sum() / labelled
        labelled_by_view = total((labels >= 0).reshape(views, -1).sum(dim=1)).clamp_min(1)
        found[f"weight_{name}_by_view"] = raw.reshape(views, -1).sum(dim=1) / labelled_by_view
        found[f"sum_{name}_by_view"] = weight.reshape(views, -1).sum(dim=1)
        found[f"share_{name}"] = (weight > 0).sum() / labelled
    both = (weighted.imperfect >= 0) & (weighted.pseudo >= 0)
    found["agreement"] = (both & (weighted.imperfect == weighted.pseudo)).sum() / total(both.sum()).clamp_min(1)
    return found


@torch.no_grad()
def trouble(
    weighted: WeightedLabels, tangents: Tensor | None, target: Tensor | Sequence[Tensor], ignore_label: int | None
) -> Tensor:
    """What an epoch's log counts: ``(3,)`` numbers of pixels, which processes that share a batch add up.

    Pixels with a weight, tangents that are not finite, and foreground pixels of nnU-Net's clean target.
    """
    weights = torch.stack([weighted.weight_imperfect, weighted.weight_pseudo])
    labels = as_labels(target, ignore_label)
    overflow = torch.zeros_like(labels.sum()) if tangents is None else (~torch.isfinite(tangents)).sum()
    return torch.stack([(weights > 0).sum(), overflow, (labels > 0).sum()]).float()
