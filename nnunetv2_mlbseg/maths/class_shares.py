"""Labels of unlabeled scans held to the class shares of the clean ones (distribution alignment).

A network that knows a few scans finds too little, or too much, on others, and pseudo labels teach it to go on like
that. What the clean scans also tell is how much of a scan each class takes. Berthelot et al. (ReMixMatch, ICLR 2020)
multiply the probabilities of unlabeled images by the ratio of both shares. The most probable class of a certain network
hardly moves by that, so here a bias per class is added to the logarithm of its probability, and adjusted until the
labels, not the probabilities, have the shares of the clean ones. Images with a label of their own are left alone: they
say themselves how much there is.

This supposes that unlabeled and clean scans are of one kind: the same body part, framed alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.binned import binned
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.unshown import Unshown

LIMIT = math.log(40)
"""The largest bias: against a network that gives a class less than 1 part in 40 it can do nothing, so that shares which
do not hold for the unlabeled scans cannot invent what the network sees no trace of."""

SMALL_AND_LARGE = (0.5, 2.0)
"""A bias below the first can come from the choice of a few clean scans; one above the second (odds of 7 to 1) says that
the network misses, or imagines, much of a class."""

DECAY = 0.98
"""What remains of the counted pixels after an iteration: a mean over about 50 iterations."""

RATE = 0.02
"""How far the bias moves per iteration and unit of the shares' log ratio; about 1 / 50 as well, so that it does not
overtake the counts that steer it."""

LEAST_SHARE = 1e-4
"""Added to every share before taking the logarithm: a class that a batch lacks does not decide alone."""

SWEEPS = 100
"""At most so many rounds over the classes when a bias is fitted; two classes need one."""

SETTLED = 1e-4
"""Log-odds: where no class moves further in a round, the fit is done. It is one part in 10,000 of a class's pixels."""


@dataclass(frozen=True)
class ShareRecord(Record):
    """What the bias is made of, float32; G groups of classes, see `maths/label_space`.

    Attributes:
        clean: (G, C), decayed number of pixels of every class in the clean batches' labels.
        pseudo: (G, C), the same of the pseudo labels of unlabeled images, bias included.
        bias: (G, C), added to the log-probabilities of unlabeled images; 0 for class 0.
    """

    clean: Tensor
    pseudo: Tensor
    bias: Tensor

    @classmethod
    def empty(cls, classes: int, device: torch.device | str = "cpu", groups: int = 1) -> ShareRecord:
        """Nothing seen yet, no bias."""
        return cls(*torch.zeros(3, groups, classes, device=device))

    @classmethod
    def of_former(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of an earlier version, whose tables (C,) knew one group."""
        return {name: table.unsqueeze(0) if table.ndim == 1 else table for name, table in state.items()}

    def weight(self, least: float) -> Tensor:
        """How much unlabeled images count: from ``least``, where the bias is small, to 1, where it is large.

        Without a bias their labels are what the networks say anyway. With a large one the clean shares have their say.
        """
        small, large = SMALL_AND_LARGE
        return least + (1 - least) * ((self.bias.abs().amax() - small) / (large - small)).clamp(0, 1)


@torch.no_grad()
def aligned(probabilities: Tensor, generated: Tensor, record: ShareRecord) -> Tensor:
    """The probabilities of unlabeled images, each class times the exponential of its bias; others as they are.

    Args:
        probabilities: (B, C, *S); they add up to 1, or to 0 where nothing is known. The groups of an image follow one
            another.
        generated: (B,) bool, which images have no label but a generated one.

    Returns:
        (B, C, *S), with the sums of before. No gradient flows.
    """
    probabilities = at_least_float32(probabilities)
    bias = record.bias.repeat(len(probabilities) // len(record.bias), 1)
    factors = torch.where(_per_image(generated, probabilities), _per_class(bias, probabilities).exp(), 1.0)
    moved = probabilities * factors
    tiny = torch.finfo(moved.dtype).tiny
    return moved * (probabilities.sum(1, keepdim=True) / moved.sum(1, keepdim=True).clamp_min(tiny))


@torch.no_grad()
def followed(
    record: ShareRecord,
    clean: Tensor,
    pseudo: Tensor,
    generated: Tensor,
    total: Total = unchanged,
    unshown: Unshown | None = None,
) -> ShareRecord:
    """The record after one more batch; its bias is for the next one.

    Without an unlabeled image in the batch the bias stays.

    Args:
        clean: (B', *S) int64, the clean batch's labels, negative = no label.
        pseudo: (B, *S) int64, pseudo labels made with the record's bias.
        generated: (B,) bool, which of these images are unlabeled.
        total: sums over the processes that share a batch.
        unshown: classes that clean images do not show, so that their share is not known; they keep a bias of 0, and
            their pixels do not count.
    """
    unlabeled = torch.where(_per_image(generated, pseudo), pseudo, -1)
    if unshown is not None:
        unlabeled = torch.where(unshown.among(unlabeled), -1, unlabeled)
    now = total(torch.stack([_pixels(each, *record.bias.shape) for each in (clean, unlabeled)]))
    kept = DECAY * torch.stack([record.clean, record.pseudo]) + (1 - DECAY) * now
    ratio = _shares(kept[0]).log() - _shares(kept[1]).log()
    moved = (record.bias + RATE * (ratio - ratio[:, :1])).clamp(-LIMIT, LIMIT)
    if unshown is not None:
        moved = torch.where(unshown.flags, 0.0, moved)
    return ShareRecord(kept[0], kept[1], torch.where(now[1].sum() > 0, moved, record.bias))


@torch.no_grad()
def fitted_bias(logits: Tensor, shares: Tensor) -> Tensor:
    """The bias with which a sample of pixels is labelled with given shares of the classes.

    One class after the other gets the bias at which as many pixels as it should have prefer it, until nothing moves
    (see `SETTLED`).

    Args:
        logits: (N, C), of N pixels.
        shares: (C,), wanted; a class of share 0, and class 0, keep a bias of 0.

    Returns:
        (C,) from -LIMIT to LIMIT, on the scale of the logits.
    """
    rows = at_least_float32(logits).T.contiguous()
    classes, pixels = rows.shape
    bias = rows.new_zeros(classes)
    wanted = [min(max(round(float(share) * pixels), 1), pixels - 1) if share > 0 else 0 for share in shares]
    nothing = rows.new_full((pixels,), -math.inf)
    for _ in range(SWEEPS):
        before = bias.clone()
        _sweep_(rows, bias, wanted, range(classes), nothing)
        if (bias - before).abs().amax() <= SETTLED:
            break
    return bias


def _sweep_(rows: Tensor, bias: Tensor, wanted: Sequence[int], own: range, others: Tensor) -> None:
    """One round over the classes ``own``, in halves: what the largest of all others is costs C log C, not C * C.

    Args:
        rows: (C, N), the logits by class; ``bias`` (C,) is set in place.
        wanted: (C,) numbers of pixels.
        others: (N,), the largest biased logit of the classes that are not in ``own``.
    """
    if len(own) == 1:
        if own[0] and wanted[own[0]]:
            needed = others - rows[own[0]]
            bias[own[0]] = _between(needed, wanted[own[0]]).clamp(-LIMIT, LIMIT)
        return
    first, second = own[: len(own) // 2], own[len(own) // 2 :]
    _sweep_(rows, bias, wanted, first, _largest(rows, bias, second, others))
    _sweep_(rows, bias, wanted, second, _largest(rows, bias, first, others))


def _largest(rows: Tensor, bias: Tensor, among: range, others: Tensor) -> Tensor:
    found, biased = others.clone(), torch.empty_like(others)
    for number in among:
        torch.maximum(found, torch.add(rows[number], bias[number], out=biased), out=found)
    return found


def _between(values: Tensor, count: int) -> Tensor:
    """Half way between the ``count`` smallest of (N,) values and all others."""
    above = values.kthvalue(count + 1).values
    smaller = values[values < above]
    below = above if len(smaller) < count else smaller.amax()  # if not, several values are the same
    return torch.stack([below, above]).mean()


def _pixels(labels: Tensor, groups: int, classes: int) -> Tensor:
    """Number of pixels of every class: (G, C) float32, without a wait for the device; negative labels do not count."""
    of_groups = labels.unflatten(0, (-1, groups)).movedim(1, 0).flatten(1)
    ones = torch.ones((), device=labels.device).expand(groups, 1, of_groups.shape[1])
    return binned(ones, of_groups, classes).squeeze(1)


def _shares(pixels: Tensor) -> Tensor:
    return pixels / pixels.sum(-1, keepdim=True).clamp_min(torch.finfo(pixels.dtype).tiny) + LEAST_SHARE


def _per_image(values: Tensor, maps: Tensor) -> Tensor:
    return values.view(-1, *[1] * (maps.ndim - 1))


def _per_class(values: Tensor, maps: Tensor) -> Tensor:
    return values.view(*values.shape, *[1] * (maps.ndim - 2))
