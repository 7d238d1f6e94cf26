"""One bootstrapping step, composed from the maths modules: from networks and batches to loss terms.

Knows neither nnU-Net nor files, devices, or precision; the trainer owns those. "Scales" are the outputs of a network
with deep supervision, finest first; without it there is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.consistency import teacher_consistency, view_consistency
from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.losses import IGNORE, mixture_dice_loss, resize_labels, weighted_cross_entropy
from nnunetv2_mlbseg.maths.pseudo_labels import ensemble_probabilities, pseudo_labels
from nnunetv2_mlbseg.maths.tangents.forward import normalize_weights
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.views import Views
from nnunetv2_mlbseg.maths.weighting.strategies import WEIGHTINGS, meta_weights
from nnunetv2_mlbseg.maths.weighting.tied import DisputeRecord, normalized_parts, rivals, tied_weights, updated


@dataclass(frozen=True)
class WeightedLabels:
    """Both labels of every pixel at one scale, ``(V*B, *S)``, with their raw and their normalised weights.

    With tied weights there is a third one, the rival of what both labels agree on, and its normalised weight.
    """

    imperfect: Tensor
    pseudo: Tensor
    raw_imperfect: Tensor
    raw_pseudo: Tensor
    weight_imperfect: Tensor
    weight_pseudo: Tensor
    rival: Tensor | None = None
    weight_rival: Tensor | None = None

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Every label with its normalised weight."""
        found = [(self.imperfect, self.weight_imperfect), (self.pseudo, self.weight_pseudo)]
        return found if self.rival is None or self.weight_rival is None else [*found, (self.rival, self.weight_rival)]


def as_labels(target: Tensor | Sequence[Tensor], ignore_label: int | None, channel: int = 0) -> Tensor:
    """nnU-Net's target ``(B, 1, *S)`` as class indices ``(B, *S)`` int64 with ignored pixels negative.

    With deep supervision the target is a list, finest first, and the finest counts. Where labels of another kind travel
    along, ``channel`` tells which.
    """
    labels = (target if isinstance(target, Tensor) else target[0])[:, channel].long()
    return labels if ignore_label is None else torch.where(labels == ignore_label, IGNORE, labels)


def unit_direction(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Scale a gradient over all parameters to norm 1, without asking the device for a number.

    The length cancels in Eq. 8; scaling it away keeps the tangents in range and undoes the factor of a gradient
    scaler. A gradient that is zero or not finite becomes zero, so that no pixel gets a weight from it.
    """
    present = [gradient for gradient in gradients if gradient is not None]
    norm = torch.stack(torch._foreach_norm([at_least_float32(gradient) for gradient in present])).norm()
    factor = torch.where(torch.isfinite(norm) & (norm > 0), norm.reciprocal(), 0.0)
    return [None if g is None else torch.nan_to_num(g * factor, posinf=0.0, neginf=0.0) for g in gradients]


def ensemble_of_views(probabilities: Tensor, views: Views) -> Tensor:
    """The mean inside Eq. 10, in the image's frame: ``(V*B, C, *S)``, one per view, to ``(B, C, *S)``. No gradient."""
    probabilities = probabilities.detach()
    return ensemble_probabilities(views.invert(probabilities), views.covered(probabilities.shape[2:]))


def pseudo_labels_in_views(probabilities: Tensor, views: Views) -> Tensor:
    """Eq. 10: average over the views in the image's frame, take the most probable class, show it in every view.

    Args:
        probabilities: ``(V*B, C, *S)``, one per view.

    Returns:
        ``(V*B, *S)`` int64, negative where a view looks beyond the image. No gradient flows.
    """
    return views.apply_labels(pseudo_labels(ensemble_of_views(probabilities, views)))


def labels_that_count(imperfect: Tensor, pseudo: Tensor, which: str) -> tuple[Tensor, Tensor]:
    """Both labels, or one of them with the other ignored at every pixel, so that it has neither weight nor loss.

    Args:
        imperfect, pseudo: ``(V*B, *S)`` int64.
        which: "both", "imperfect" (weights on the given labels only, Mirikharaji et al. 2019) or "pseudo".

    Raises:
        ValueError: an unknown ``which``.
    """
    if which == "both":
        return imperfect, pseudo
    if which == "imperfect":
        return imperfect, torch.full_like(pseudo, IGNORE)
    if which == "pseudo":
        return torch.full_like(imperfect, IGNORE), pseudo
    raise ValueError(f"unknown choice of labels {which!r}, expected both, imperfect or pseudo")


def weigh_labels(
    logits: Sequence[Tensor],
    tangents: Sequence[Tensor | None],
    imperfect: Tensor,
    pseudo: Tensor,
    weighting: str,
    normalization: str,
    total: Total = unchanged,
) -> list[WeightedLabels]:
    """Eq. 4-8 at every scale: labels resized as nnU-Net does, weights by a named strategy, each scale on its own.

    ``total`` sums over the processes that share a batch: the weights are normalised over the whole of it.
    """
    weigh = WEIGHTINGS[weighting]
    weighted = []
    for z, dz in zip(logits, tangents, strict=True):
        size = z.shape[2:]
        label_n, label_p = resize_labels(imperfect, size), resize_labels(pseudo, size)
        raw_n, raw_p = weigh(z, dz, label_n, label_p)
        weights = normalize_weights(raw_n, raw_p, normalization, total=total)
        weighted.append(WeightedLabels(label_n, label_p, raw_n, raw_p, *weights))
    return weighted


def weigh_disputes(
    logits: Sequence[Tensor],
    tangents: Sequence[Tensor | None],
    imperfect: ImperfectLabels,
    pseudo: Tensor,
    probabilities: Tensor,
    record: DisputeRecord,
    decay: float,
    strength: float,
    normalization: str,
    total: Total = unchanged,
) -> tuple[list[WeightedLabels], DisputeRecord]:
    """Tied weights at every scale, from the finest one's derivatives; labels and weights are resized by one rule.

    Args:
        imperfect: In every view.
        probabilities: ``(V*B, C, *S)``, what the pseudo labels were taken from, in every view.
        record: The sums so far; the new ones are returned.
    """
    raw = meta_weights(logits[0], tangents[0], imperfect.classes, pseudo)
    record = updated(record, *raw, imperfect, pseudo, probabilities, decay, total)
    rival = rivals(imperfect.classes, probabilities)
    parts = tied_weights(record, imperfect, pseudo, probabilities, strength, rival)
    maps = (imperfect.classes, pseudo, *parts, rival)
    weighted = []
    for z in logits:
        label_n, label_p, raw_n, raw_p, rival = (resize_labels(each, z.shape[2:]) for each in maps)
        weight_n, weight_p, weight_r = normalized_parts(raw_n, raw_p, normalization, total)
        weighted.append(WeightedLabels(label_n, label_p, raw_n, raw_p, weight_n, weight_p, rival, weight_r))
    return weighted, record


def ramp_up(iteration: int, length: int) -> float:
    """What part of its weight a term has: exp(-5 (1 - t)^2) with t from 0 to 1 (Laine and Aila, ICLR 2017).

    Args:
        iteration: iterations done.
        length: iterations until the part is 1; 0: it always is.
    """
    left = 1 - iteration / length if iteration < length else 0.0
    return math.exp(-5 * left**2)


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
