"""Tables of how labels err: what an image adds to them, and rows for all that labels are told apart by.

A row is of a case, or of a source of several cases. It sums over the batches that show it. What it has to say is little
at first, so its matrix is drawn towards one that is known better: that of a case towards that of its source, and that
towards the one of all labels. The sums are counts of a multinomial distribution, and each step is its Dirichlet prior.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.binned import binned
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS

PRIOR_DIAGONAL = 0.8
"""The confusion matrix before the first pixel is seen: this much on the diagonal, the rest evenly, each divided evenly
among the depths."""


@torch.no_grad()
def image_counts(probabilities: Tensor, labels: Tensor, levels: Tensor) -> Tensor:
    """[b, t, n, d]: the probability of class t, summed over the pixels of image b with the label n at depth d.

    Args:
        probabilities: (B, C, *S).
        labels, levels: (B, *S) int64; negative labels do not count.

    Returns:
        (B, C, C, D), float32 or float64.
    """
    rows, labels, levels = at_least_float32(probabilities).flatten(2), labels.flatten(1), levels.flatten(1)
    classes = rows.shape[1]
    kinds = torch.where(labels >= 0, labels * LEVELS + levels, -1)
    return binned(rows, kinds, classes * LEVELS).unflatten(2, (classes, LEVELS))


def pair_counts(truth: Tensor, given: Tensor, levels: Tensor, classes: int) -> Tensor:
    """[t, n, d]: pixels of class t with the label n at depth d, (C, C, D) float32.

    Args:
        truth, given, levels: (*S) int64; where either label is negative nothing counts.
    """
    known = (truth >= 0) & (given >= 0)
    kinds = (truth[known] * classes + given[known]) * LEVELS + levels[known]
    return torch.bincount(kinds, minlength=classes * classes * LEVELS).view(classes, classes, LEVELS).float()


def followed(
    tables: Tensor, row: Tensor, told: Tensor, images: Tensor, decay: float, total: Total = unchanged
) -> Tensor:
    """The tables after one more batch. A row that the batch does not show stays as it is.

    Args:
        tables: (R, C, C, D), the sums of every row.
        row: (B,) int64, the row that every image belongs to, from 0.
        told: (B,) bool, whether it belongs to any; if not, ``row`` is of no use.
        images: (B, C, C, D), what is counted in every image.
        decay: What remains of a row's sums when a batch shows it.
        total: Sums over the processes that share a batch.
    """
    rows = len(tables)
    if not rows:
        return tables
    row, own = torch.where(told, row, 0), torch.where(wide(told), images, 0.0)
    there = total(images.new_zeros(rows).index_add(0, row, told.to(images.dtype))) > 0
    found = tables * wide(torch.where(there, decay, 1.0))
    if total is unchanged:
        return found.index_add_(0, row, own)
    found += total(torch.zeros_like(found).index_add_(0, row, own))
    return found


def one_pixel(like: Tensor) -> Tensor:
    """What is taken for known before the first pixel: one of every class, (C, C, 1), at every depth of (G, C, C, D)."""
    _, classes, _, depths = like.shape
    even = torch.full((classes, classes), (1 - PRIOR_DIAGONAL) / classes, device=like.device)
    prior = even + PRIOR_DIAGONAL * torch.eye(classes, device=like.device)
    return prior.unsqueeze(2) / depths


def drawn_towards(counts: Tensor, weight: Tensor, prior: Tensor) -> Tensor:
    """The matrices of some counts, (B, C, C, D), with ``weight`` pixels of every class spread as ``prior`` says."""
    return normalized(counts + weight * prior)


def normalized(counts: Tensor) -> Tensor:
    """For every class t the probabilities of label and depth, which add up to 1."""
    return counts / counts.sum(dim=(-2, -1), keepdim=True)


def wide(flags: Tensor) -> Tensor:
    """(B,) beside (B, C, C, D)."""
    return flags.view(-1, 1, 1, 1)
