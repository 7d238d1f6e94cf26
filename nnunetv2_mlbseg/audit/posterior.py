"""The probability of every class at a voxel, given the image and the given label; and what follows for the label.

Two witnesses say which class a voxel has: the networks (e), and the given label, whose worth depends on how it errs:
its confusion matrix M[t, n], the probability of the label n on voxels of class t (Dawid and Skene 1979). Labels err
each in their own way, so M is found for every case by itself, by expectation and maximisation (EM), and drawn towards
what is known of the labels of the fold. A label that the networks mostly confirm is thereby trusted where they do not.

The two are not independent: the networks have learned from these very labels. So the label's word counts a quarter
where voxels are suspected. Where a label is changed or scored it counts in full.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.tensors import at_least_float32

LEAST_PROBABILITY = 1e-9
LEAST_CONFUSION = 1e-6
"""Added before taking logarithms, so that no witness can be certain."""

PRIOR_SHARE = 0.1
"""What is known of the fold counts like so many voxels for each voxel of the case."""
PRIOR_VOXELS = 5.0
"""And like so many more of every class, so that a class the case hardly has stays what it is in the fold."""
ROUNDS = 5

LABEL_VOICE = 0.25
"""The exponent of M in the map of suspicion: 1 is Bayes' rule of independent witnesses. docs/audit.md has others."""

USUAL_BACKGROUND, USUAL_FOREGROUND = 0.99, 0.9
"""How often labels are right on voxels of background and of other classes, where a training left no record of it."""


def usual_confusion(classes: int) -> Tensor:
    """M of labels that nothing is known of: (C, C), rows add up to 1, errors spread evenly over the other classes."""
    right = torch.full((classes,), USUAL_FOREGROUND)
    right[0] = USUAL_BACKGROUND
    wrong = ((1 - right) / (classes - 1)).unsqueeze(1).expand(classes, classes)
    return torch.where(torch.eye(classes, dtype=torch.bool), right.unsqueeze(1), wrong)


@torch.no_grad()
def posterior(probabilities: Tensor, given: Tensor, confusion: Tensor, voice: float = 1.0) -> Tensor:
    """The probability of class t where the label n is given, by Bayes' rule proportional to e_t M[t, n]^voice.

    Args:
        probabilities: e, (C, *S), the networks'.
        given: n, (*S) int64, negative = no label; there the networks speak alone.
        confusion: M, (C, C).
        voice: how much of the label's evidence counts, from 0 to 1.

    Returns:
        (C, *S), adds up to 1. No gradient flows.
    """
    scores = (at_least_float32(probabilities) + LEAST_PROBABILITY).log()
    witness = voice * (confusion + LEAST_CONFUSION).log()[:, given.clamp_min(0)]
    return (scores + torch.where(given >= 0, witness.to(scores.dtype), 0.0)).softmax(dim=0)


@torch.no_grad()
def case_confusion(probabilities: Tensor, given: Tensor, prior: Tensor) -> Tensor:
    """How the label of one case errs, M (C, C), by EM over its voxels, drawn towards ``prior``.

    Args:
        probabilities: e, (C, *S).
        given: (*S) int64, negative = no label; such voxels do not count.
        prior: M of the fold's labels, (C, C).
    """
    confusion = prior.to(torch.float32)
    for _ in range(ROUNDS):
        counts = _counts(posterior(probabilities, given, confusion), given)
        size = PRIOR_SHARE * counts.sum(dim=1, keepdim=True) + PRIOR_VOXELS
        counts = counts + size * prior
        confusion = (counts / counts.sum(dim=1, keepdim=True)).to(torch.float32)
    return confusion


def _counts(belief: Tensor, given: Tensor) -> Tensor:
    """[t, n]: the probability of class t, summed over the voxels with the label n, float64."""
    columns = [
        torch.where(given == n, belief, 0.0).flatten(1).sum(dim=1, dtype=torch.float64) for n in range(len(belief))
    ]
    return torch.stack(columns, dim=1)


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
