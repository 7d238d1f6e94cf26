"""Confident learning (Northcutt et al., JAIR 2021): which labels are probably wrong, by a network's probabilities.

As cleanlab has it (``find_label_issues`` with ``filter_by="both"``), for all pixels of a batch at once and without a
look from the host. Counts are float32; they are exact below 2**24 pixels of a class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32

NEVER = 2.0
"""The threshold of a class that no label shows; no probability reaches it."""
TOLERANCE = 1e-6
"""How far below its threshold a probability may be, as in cleanlab: a mean is known to rounding only."""


def flat(maps: Tensor) -> Tensor:
    """(B, C, *S) to (C, pixels)."""
    return maps.transpose(0, 1).flatten(1)


def confidence_thresholds(probabilities: Tensor, labels: Tensor) -> Tensor:
    """For every class, its mean probability at pixels with its label: what being sure of it means.

    Args:
        probabilities: (C, N). No gradient flows.
        labels: (N,) int64, negative = no label.

    Returns:
        (C,); 2 for a class without a label.
    """
    own, counts = _own(probabilities, labels), _counts(labels, len(probabilities))
    sums = own.new_zeros(len(probabilities) + 1).scatter_add_(0, _groups(labels, len(probabilities)), own)[:-1]
    return torch.where(counts > 0, sums / counts.clamp_min(1), NEVER)


def confident_joint(probabilities: Tensor, labels: Tensor) -> Tensor:
    """How many pixels with label i the network is sure are j, scaled to the number of labels i.

    A pixel is counted where a class reaches its threshold; where several do, it counts for the most probable class.

    Args:
        probabilities: (C, N).
        labels: (N,) int64, negative = no label.

    Returns:
        (C, C), whole numbers in floats: rows are labels, columns what they probably should be. A row adds up to the
        number of its labels.
    """
    classes = len(probabilities)
    sure = probabilities >= (confidence_thresholds(probabilities, labels) - TOLERANCE).unsqueeze(1)
    several = sure.sum(dim=0) > 1
    guess = torch.where(several, probabilities.argmax(dim=0), sure.to(torch.uint8).argmax(dim=0))
    pairs = torch.where(sure.any(dim=0) & (labels >= 0), labels.clamp_min(0) * classes + guess, classes**2)
    counted = probabilities.new_zeros(classes**2 + 1).scatter_add_(0, pairs, torch.ones_like(probabilities[0]))
    joint = counted[:-1].view(classes, classes)
    joint = joint + torch.diag((1 - joint.diagonal()).clamp_min(0))  # every class has one right label
    return _rounded(joint / joint.sum(dim=1, keepdim=True) * _counts(labels, classes).unsqueeze(1))


@torch.no_grad()
def doubtful_labels(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The pixels that both ways of pruning flag, unless their label is the most probable class anyway.

    By class: as many of label i as the joint has off its diagonal, those with the lowest probability of i. By noise
    rate: for every j, as many of label i as the joint has at (i, j), those with the largest margin of j over i.

    Args:
        probabilities: (B, C, *S).
        labels: (B, *S) int64, negative = no label; never flagged.

    Returns:
        (B, *S) bool.
    """
    p, y = flat(at_least_float32(probabilities)), labels.flatten()
    classes, own = len(p), _own(p, y)
    joint = confident_joint(p, y)
    kept = joint.diagonal().clamp_min(1)
    counts, of_label = _counts(y, classes), y.clamp_min(0)
    by_class = _rank_among_equals(own, y, classes) < (counts - kept)[of_label]
    by_rate = torch.zeros_like(by_class)
    for other in range(classes):
        rank = _rank_among_equals(own - p[other], y, classes)
        by_rate |= (rank < joint[:, other][of_label]) & (of_label != other)
    agrees = own + TOLERANCE >= p.amax(dim=0)
    return (by_class & by_rate & ~agrees & (y >= 0) & (counts[of_label] > 1)).view(labels.shape)


def _own(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The probability of every pixel's label, (N,)."""
    return probabilities.gather(0, labels.clamp_min(0).unsqueeze(0)).squeeze(0)


def _groups(labels: Tensor, classes: int) -> Tensor:
    """Labels, with a class of their own for pixels that have none."""
    return torch.where(labels < 0, classes, labels)


def _counts(labels: Tensor, classes: int) -> Tensor:
    """Pixels of every label, (C,) float32."""
    ones = torch.ones_like(labels, dtype=torch.float32)
    return ones.new_zeros(classes + 1).scatter_add_(0, _groups(labels, classes), ones)[:-1]


def _rank_among_equals(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The place of every pixel, lowest value first, among those with its label: (N,) int64 from 0."""
    groups = _groups(labels, classes)
    by_value = values.argsort(stable=True)
    order = by_value[groups[by_value].argsort(stable=True)]
    sizes = torch.zeros(classes + 1, dtype=torch.int64, device=labels.device)
    sizes = sizes.scatter_add_(0, groups, torch.ones_like(groups))
    starts = sizes.cumsum(0) - sizes
    places = torch.arange(len(groups), device=labels.device) - starts[groups[order]]
    return torch.empty_like(places).scatter_(0, order, places)


def _rounded(joint: Tensor) -> Tensor:
    """Whole numbers whose rows add up to the same: what rounding adds or takes goes where it is missed least."""
    rounded = joint.round()
    missing = (joint.sum(dim=1, keepdim=True) - rounded.sum(dim=1, keepdim=True)).round()
    towards = torch.where(missing < 0, -1.0, 1.0)
    places = ((rounded - joint) * towards).argsort(dim=1).argsort(dim=1)
    return rounded + towards * (places < missing.abs())
