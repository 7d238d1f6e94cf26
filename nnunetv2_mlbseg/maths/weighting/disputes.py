"""Which of two labels the clean cases side with, as a table of class pairs that many batches fill.

A pixel is disputed where its imperfect label n and its pseudo label p differ; (n, p) is the kind of dispute. A weight
that many pixels share has the sum of their derivatives (Eq. 6) for its own, by the chain rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.binned import binned
from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.testimony import belief, united

PRIOR_EXTENT = 1.0
"""Pixels of average size, per iteration, that are counted as undecided: a single derivative decides nothing."""

LEAST_PROBABILITY = 0.03
"""Added to the network's probabilities: its word counts for about 30 to 1 at most. A network that knows a few scans by
heart is far more certain on other scans than it is right."""


@dataclass(frozen=True)
class DisputeRecord(Record):
    """Running sums over iterations, float32; G groups of classes, see `maths/label_space`.

    Attributes:
        gain: (2*G, C, C), [s, n, p]: the sum of the raw weight of n minus that of p (Eq. 6) over the disputed pixels;
            s is twice the group, and one more for generated labels.
        extent: (2*G, C, C), the sum of its absolute value: the largest that ``gain`` can be.
        confusion: How the given labels err.
    """

    gain: Tensor
    extent: Tensor
    confusion: ConfusionRecord

    @classmethod
    def empty(cls, classes: int, cases: int = 0, device: torch.device | str = "cpu", groups: int = 1) -> DisputeRecord:
        """Nothing seen yet; ``cases`` is the number of noisy cases, or 0 where they are not told apart."""
        gain, extent = torch.zeros(2, 2 * groups, classes, classes, device=device)
        return cls(gain, extent, ConfusionRecord.empty(classes, cases, device, groups))

    def with_sources(self, sources: Sequence[int]) -> DisputeRecord:
        """The same record for these sources of the noisy cases, see there."""
        return replace(self, confusion=self.confusion.with_sources(sources))

    def with_known(self, known: Tensor) -> DisputeRecord:
        """The same record with these known pixels, see there."""
        return replace(self, confusion=self.confusion.with_known(known))

    def united(self, kinds: Sequence[ImperfectLabels]) -> ImperfectLabels:
        """Several labels of the same images as one that they say together, see there."""
        return united(self.confusion, kinds)

    @property
    def preference(self) -> Tensor:
        """G: (2*G, C, C) in [-1, 1], above 0 where the clean batch sides with the imperfect label n against p."""
        return self.gain / (self.extent + PRIOR_EXTENT)

    @torch.no_grad()
    def followed(
        self,
        raw_imperfect: Tensor,
        raw_pseudo: Tensor,
        imperfect: ImperfectLabels,
        pseudo: Tensor,
        probabilities: Tensor,
        decay: float,
        total: Total = unchanged,
    ) -> DisputeRecord:
        """The record after one more batch.

        The batch's derivatives are first divided by their mean size, so that a batch counts by its pixels and not by
        the length of its clean gradient. Derivatives that are not finite count as 0. They may be those of the first
        images of the batch alone; how labels err is learned from all.

        Args:
            raw_imperfect, raw_pseudo: (B', *S), Eq. 6 for both labels of the first B' images.
            imperfect: labels of B images.
            pseudo: (B, *S) int64, negative = no label.
            probabilities: (B, C, *S), what the pseudo labels were taken from; 0 beyond the image.
            decay: what remains of the old sums, from 0 to below 1.
            total: sums over the processes that share a batch.
        """
        images = len(raw_imperfect)
        given, own = imperfect.first(images), pseudo[:images]
        disputed = _disputed(given.classes, own)
        difference = torch.where(disputed, at_least_float32(raw_imperfect - raw_pseudo), 0.0)
        difference = torch.nan_to_num(difference, nan=0.0, posinf=0.0, neginf=0.0)
        pairs = torch.where(disputed, given.classes, -1), own
        both = torch.stack([difference, difference.abs()], dim=1)
        gain, extent = total(_sums(both, sources(given), pairs, self.gain))
        scale = torch.where(extent.sum() > 0, total(disputed.sum()) / extent.sum(), 0.0)
        believed = belief(self.confusion, imperfect, bounded(probabilities))
        return DisputeRecord(
            decay * self.gain + (1 - decay) * gain * scale,
            decay * self.extent + (1 - decay) * extent * scale,
            self.confusion.followed(imperfect, believed, decay, total),
        )


def bounded(probabilities: Tensor) -> Tensor:
    """The network's word: no class less than :data:`LEAST_PROBABILITY`, so that they add up to more than 1."""
    return at_least_float32(probabilities) + LEAST_PROBABILITY


def sources(imperfect: ImperfectLabels) -> Tensor:
    """What images are told apart by, (B,): twice the group, and one more for generated labels."""
    return 2 * imperfect.group + imperfect.generated


def kind_of_dispute(imperfect: ImperfectLabels, pseudo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What disputes are told apart by: source (B, 1, ...), imperfect and pseudo class (B, *S), as indices."""
    source = sources(imperfect).view(-1, *[1] * (pseudo.ndim - 1))
    return source, imperfect.classes.clamp_min(0), pseudo.clamp_min(0)


def _disputed(imperfect: Tensor, pseudo: Tensor) -> Tensor:
    return (imperfect >= 0) & (pseudo >= 0) & (imperfect != pseudo)


def _sums(values: Tensor, source: Tensor, pairs: tuple[Tensor, Tensor], like: Tensor) -> Tensor:
    """[k, s, n, p]: map k of (B, K, *S), summed over the pixels of images of source s with the labels n and p."""
    classes, rows, (n, p) = like.shape[-1], values.flatten(2), (labels.flatten(1) for labels in pairs)
    if rows.is_cuda:  # C rows of C bins: products with C * C bins are many for many classes
        own = n.unsqueeze(1) == torch.arange(classes, device=n.device).view(-1, 1)
        rows = (rows.unsqueeze(2) * own.unsqueeze(1)).flatten(1, 2)
        tables = binned(rows, torch.where(n < 0, -1, p), classes)
    else:
        tables = binned(rows, torch.where(n < 0, -1, n * classes + p), classes * classes)
    tables = tables.view(len(values), -1, classes, classes)
    sums = tables.new_zeros(len(like), *tables.shape[1:]).index_add(0, source, tables)
    return sums.transpose(0, 1)
