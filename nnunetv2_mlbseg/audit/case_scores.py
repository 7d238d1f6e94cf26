"""Label-quality scores: the Dice that a label can expect, when the truth is known by its probabilities only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LabelScores:
    """From 0 (all wrong) to 1. A class that is neither in the label nor likely anywhere has no part in the means.

    Attributes:
        case: Mean over the foreground classes of the expected Dice in the whole case.
        classes: That of each foreground class 1, ..., C - 1; None where the class has no part.
        slices: The mean over the foreground classes in each slice; None where no class has a part.
    """

    case: float
    classes: tuple[float | None, ...]
    slices: tuple[float | None, ...]


def label_scores(belief: Tensor, given: Tensor, axis: int) -> LabelScores:
    """Score a label against the probabilities of the true class.

    The expected Dice of class c is 2 sum_{given = c} P(c) / (|given = c| + sum P(c)), sums over the voxels with a
    label: the soft Dice of Milletari et al. 2016 (without squares), read as the ratio of the expected overlap to the
    expected sizes. A class has a part in a slice where it is given or is the most probable class of some voxel.

    Args:
        belief: (G, C, Z, Y, X), probabilities of the true class in every group of classes.
        given: (G, Z, Y, X) int64, negative = no label.
        axis: Which of Z, Y, X counts the slices.
    """
    slices, (classes,) = (_of_all_groups(belief, given, along) for along in (axis, None))
    return LabelScores(_of_case(classes), tuple(classes), tuple(_mean(one) for one in slices))


def expected_gain(belief: Tensor, given: Tensor, proposal: Tensor) -> float:
    """The score that the proposal would have as the label, less the score of the given label; from -1 to 1.

    Both are the :attr:`LabelScores.case` under the same belief, each over the classes that have a part in it.

    Args:
        belief: As in :func:`label_scores`.
        given, proposal: (G, Z, Y, X) int64; where given is negative neither counts.
    """
    judged = torch.where(given >= 0, proposal, given)
    after, before = (_of_case(_of_all_groups(belief, label, None)[0]) for label in (judged, given))
    return after - before


def _of_case(classes: list[float | None]) -> float:
    case = _mean(classes)
    return 1.0 if case is None else case


def _of_all_groups(belief: Tensor, given: Tensor, axis: int | None) -> list[list[float | None]]:
    """Per slice the expected Dice of the foreground classes of all groups."""
    of_groups = [_sums_by_slice(b, g, g >= 0, axis) for b, g in zip(belief, given, strict=True)]
    return [[dice for sums in slices for dice in _expected_dice(*sums)] for slices in zip(*of_groups, strict=True)]


def _sums_by_slice(
    belief: Tensor, given: Tensor, known: Tensor, axis: int | None
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Per slice (or for the whole, axis None): expected overlap, expected plus given size, and presence, each (C,)."""
    classes = torch.arange(belief.shape[0], device=given.device).view(-1, 1, 1, 1)
    is_given = given == classes
    likely = (belief.argmax(dim=0) == classes) & known
    dims = [dim for dim in (1, 2, 3) if axis is None or dim != axis + 1]
    overlap = torch.where(is_given, belief, 0.0).sum(dims, dtype=torch.float64)
    size = is_given.sum(dims) + torch.where(known, belief, 0.0).sum(dims, dtype=torch.float64)
    present = (is_given | likely).sum(dims) > 0
    shape = (belief.shape[0], -1)
    columns = zip(overlap.view(shape).T, size.view(shape).T, present.view(shape).T, strict=True)
    return list(columns)


def _expected_dice(overlap: Tensor, size: Tensor, present: Tensor) -> list[float | None]:
    values = (2 * overlap / size.clamp_min(1e-12)).tolist()
    return [value if is_present else None for value, is_present in zip(values, present.tolist(), strict=True)][1:]


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
