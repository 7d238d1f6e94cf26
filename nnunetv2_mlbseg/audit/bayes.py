"""The probability of every class at a voxel, given the image and the given label; and what follows for the label.

Two witnesses say which class a voxel has: the networks (e), and the given label, whose worth depends on how it errs:
its confusion matrix M[t, n, d], the probability of the label n at depth d on voxels of class t (Dawid and Skene 1979;
depth: see `maths/weighting/depth`). Labels err each in their own way, so M is found for every case by itself, by
expectation and maximisation (EM), and drawn towards what is known of the labels of the fold. A label that the networks
mostly confirm at some depth is thereby trusted there where they do not.

The two are not independent: both know where a structure is. What they have in common is counted once (see
:mod:`common_knowledge`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS

LEAST_PROBABILITY = 1e-9
LEAST_CONFUSION = 1e-6
"""Added before taking logarithms, so that no witness can be certain."""

PRIOR_SHARE = 0.1
"""What is known of the fold counts like so many voxels for each voxel of the case."""
PRIOR_VOXELS = 5.0
"""And like so many more of every class, so that a class the case hardly has stays what it is in the fold."""
ROUNDS = 5

USUAL_BACKGROUND, USUAL_FOREGROUND = 0.99, 0.9
"""How often labels are right on voxels of background and of other classes, where a training left no record of it."""


def usual_confusion(classes: int) -> Tensor:
    """M of labels that nothing is known of: (C, C, D), errors spread evenly over the other classes and all depths."""
    right = torch.full((classes,), USUAL_FOREGROUND)
    right[0] = USUAL_BACKGROUND
    wrong = ((1 - right) / (classes - 1)).unsqueeze(1).expand(classes, classes)
    pairs = torch.where(torch.eye(classes, dtype=torch.bool), right.unsqueeze(1), wrong)
    return pairs.unsqueeze(2).repeat(1, 1, LEVELS) / LEVELS


@torch.no_grad()
def posterior(
    probabilities: Tensor, given: Tensor, levels: Tensor, confusion: Tensor, common: Tensor | float = 0.0
) -> Tensor:
    """The probability of class t where the label n is given at depth d, proportional to e_t M[t, n, d] exp(common_t).

    Args:
        probabilities: e, (C, *S), the networks'.
        given: n, (*S) int64, negative = no label; there the networks speak alone.
        levels: d, (*S) int64.
        confusion: M, (C, C, D).
        common: (C, *S), see :func:`~nnunetv2_mlbseg.audit.common_knowledge.factors`; 0 is Bayes' rule of independent
            witnesses.

    Returns:
        (C, *S), adds up to 1. No gradient flows.
    """
    scores = log_probabilities(probabilities)
    said = words(given, levels, confusion).to(scores.dtype) + common
    return (scores + torch.where(given >= 0, said, 0.0)).softmax(dim=0)


def log_probabilities(probabilities: Tensor) -> Tensor:
    """log e, so that no network can be certain."""
    return (at_least_float32(probabilities) + LEAST_PROBABILITY).log()


def words(given: Tensor, levels: Tensor, confusion: Tensor) -> Tensor:
    """What a label says for every class t: log M[t, n, d], (C, *S). Of no use where there is none.

    Args:
        given: n, (*S) int64, negative = no label.
        levels: d, (*S) int64.
        confusion: M, (C, C, D).
    """
    logs = (confusion + LEAST_CONFUSION / confusion.shape[2]).log().flatten(1)
    return logs[:, _symbols(given, levels, confusion)]


@torch.no_grad()
def case_confusion(
    probabilities: Tensor, given: Tensor, levels: Tensor, prior: Tensor, common: Tensor | float = 0.0
) -> Tensor:
    """How the label of one case errs, M (C, C, D), by EM over its voxels, drawn towards ``prior``.

    Args:
        probabilities: e, (C, *S).
        given: (*S) int64, negative = no label; such voxels do not count.
        levels: (*S) int64.
        prior: M of the fold's labels, (C, C, D).
        common: See :func:`posterior`.
    """
    confusion = prior.to(torch.float32)
    for _ in range(ROUNDS):
        counts = _counts(posterior(probabilities, given, levels, confusion, common), given, levels, prior)
        size = PRIOR_SHARE * counts.sum(dim=(1, 2), keepdim=True) + PRIOR_VOXELS
        counts = counts + size * prior
        confusion = (counts / counts.sum(dim=(1, 2), keepdim=True)).to(torch.float32)
    return confusion


def _symbols(given: Tensor, levels: Tensor, confusion: Tensor) -> Tensor:
    """Label and depth as one number."""
    return given.clamp_min(0) * confusion.shape[2] + levels


def _counts(belief: Tensor, given: Tensor, levels: Tensor, like: Tensor) -> Tensor:
    """[t, n, d]: the probability of class t, summed over the voxels with the label n at depth d, float64."""
    known, symbols = given >= 0, _symbols(given, levels, like)
    rows = [
        torch.bincount(symbols[known], weights=one[known].double(), minlength=like[0].numel()).view(like[0].shape)
        for one in belief
    ]
    return torch.stack(rows)


def suspicion(belief: Tensor, given: Tensor) -> Tensor:
    """The probability that the given label is wrong: (*S) from 0 to 1, 0 where there is none.

    The sum over the other classes, which tells small probabilities apart where 1 - own would not.

    Args:
        belief: (C, *S), of :func:`posterior` (or any probabilities).
        given: (*S) int64, negative = no label.
    """
    others = sum(torch.where((given >= 0) & (given != c), one, 0.0) for c, one in enumerate(belief))
    return torch.as_tensor(others).clamp(0, 1)


def uncertainty(probabilities: Tensor) -> Tensor:
    """Entropy of (C, *S) over its largest value, log C: (*S) from 0 (certain) to 1 (all classes alike)."""
    terms = torch.special.entr(at_least_float32(probabilities)).sum(dim=0)
    return (terms / torch.log(torch.tensor(float(probabilities.shape[0])))).clamp(0, 1)
