"""How imperfect labels err: confusion matrices by depth within the label, of all labels, every source and every case.

M[t, n, d] is the probability that a pixel of class t has the label n at depth d (see `maths/weighting/depth`). Over the
depths it adds up to the confusion matrix that Patrini et al. (2017) and Northcutt et al. (2021) estimate for whole
images. Bayes' rule needs the depth as well: in labels that are too large for their structure class 0 hides near the
border of label 1, and a matrix without depth can only say that some of those pixels, anywhere, are wrong.

Labels differ between cases (one is too large, the next one too small), hence a matrix for every case. It is drawn
towards that of the case's source, and that towards the one of all (see `told_apart`); where sources of labels are not
known, the one of a case towards that of all.

Where clean cases had another label before, both labels of their pixels are known. Such counts never fade: the gold loss
correction of Hendrycks et al. (2018), by depth. A few known cases outweigh what is believed of a batch, in M of all and
of their source; a case's own counts are held against one batch all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.tensors import Total, unchanged
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS
from nnunetv2_mlbseg.maths.weighting.told_apart import (
    drawn_towards,
    followed,
    image_counts,
    normalized,
    one_pixel,
    wide,
)

CASE_DECAY = 0.95
"""What remains of a case's counts when the case comes up again: its last 20 appearances or so."""

CASE_PRIOR = 1.0
"""The matrix that a case is drawn towards, of its source or of all, counts in its own as much as so many batches."""

SOURCE_PRIOR = 1.0
"""The matrix of all cases counts in that of each source as much as so many batches. Sources may err in opposite ways,
so others tell little of one: after ten batches with its labels it speaks for itself by ten elevenths. But a class that
it has hardly labelled yet is not left to a few pixels."""


@dataclass(frozen=True)
class ConfusionRecord(Record):
    """Running sums, float32; G groups of classes, see `maths/label_space`.

    Attributes:
        counts: (G, C, C, D), [g, t, n, d]: pixels believed to be of class t (in probability) with the given label n at
            depth d, in a batch.
        cases: (N*G, C, C, D), the same of every noisy case alone, over its last appearances, the groups of a case one
            after the other; then of the further labels of all cases. N is 0 where cases are not told apart.
        sources: (S*G, C, C, D), the same of every source, over the last batches that showed it. S is 0 where sources
            are not known.
        source_of: int64, the number of the source of each of these labels, negative for none; empty where S is 0.
        known: ((1+S)*G, C, C, D), pixels of clean cases by true and former label: of no such source, then of every one.
    """

    counts: Tensor
    cases: Tensor
    sources: Tensor
    source_of: Tensor
    known: Tensor

    @classmethod
    def empty(
        cls, classes: int, cases: int = 0, device: torch.device | str = "cpu", groups: int = 1
    ) -> ConfusionRecord:
        """Nothing seen yet, and no source known."""
        counts = torch.zeros(groups, classes, classes, LEVELS, device=device)
        of_cases, of_sources = counts.repeat(cases, 1, 1, 1), counts[:0]
        return cls(counts, of_cases, of_sources, counts.new_zeros(0, dtype=torch.int64), counts.clone())

    def with_sources(self, sources: Sequence[int]) -> ConfusionRecord:
        """The same record for these sources; if they are others than before, what was known of each goes.

        Args:
            sources: the number of every noisy case's source, negative for none, then those of its further labels (see
                `Task.sources`); empty where none is known. Of a case's labels that are new nothing is known.
        """
        if len(sources) == len(self.source_of) and self.source_of.tolist() == list(sources):
            return self
        none, groups = self.counts[:0], len(self.counts)
        tables = none.new_zeros((max(sources, default=-1) + 1) * groups, *none.shape[1:])
        numbers = torch.tensor(sources, device=tables.device, dtype=torch.int64)
        known = torch.cat([self.known.unflatten(0, (-1, groups)).sum(0), tables])
        cases, rows = self.cases, len(sources) * groups
        if len(cases) and sources and len(cases) != rows:
            cases = torch.cat([cases, none.new_zeros(max(rows - len(cases), 0), *none.shape[1:])])[:rows]
        return replace(self, cases=cases, sources=tables, source_of=numbers, known=known)

    def with_known(self, known: Tensor) -> ConfusionRecord:
        """The same record with other ``known`` pixels."""
        return replace(self, known=known.to(self.counts))

    @classmethod
    def of_former(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of an earlier version, which knew no sources and no former labels; or whose counts knew one group."""
        if "counts" not in state:
            return dict(state)
        counts = state["counts"]
        counts = counts.unsqueeze(0) if counts.ndim == 3 else counts
        none = {"sources": counts[:0], "source_of": counts.new_zeros(0, dtype=torch.int64), "known": 0 * counts}
        return {**none, **state, "counts": counts}

    @property
    def matrix(self) -> Tensor:
        """M of all labels: (G, C, C, D), for every class t the probabilities of label and depth; they add up to 1.

        A pixel of which both labels are known counts as one that is believed, in a batch of mean size.
        """
        return normalized(self.counts + self.known.unflatten(0, (-1, len(self.counts))).sum(0) + one_pixel(self.counts))

    @property
    def common(self) -> Tensor:
        """What image and label have in common: k2 log P(t), (G, C), 0 before the first batch."""
        pairs = self.counts.sum(dim=3)
        pixels = pairs.sum(dim=(1, 2)).unsqueeze(1)
        of_truth, of_label = pairs.sum(dim=2), pairs.sum(dim=1)
        chance = (of_truth * of_label).sum(dim=1, keepdim=True) / pixels.clamp_min(1)
        agreed = pairs.diagonal(dim1=1, dim2=2).sum(dim=1, keepdim=True)
        kappa = (agreed - chance).clamp_min(0) / (pixels - chance).clamp_min(1)
        return kappa.square() * ((of_truth + 1) / (pixels + of_truth.shape[1])).log()

    def of_cases(self, case: Tensor) -> Tensor:
        """M for every image: (B,) numbers of cases, negative for none, to (B, C, C, D).

        Args:
            case: the groups of an image, which are of one case, follow one another.
        """
        matrix = self.of_sources(case)
        if not len(self.cases):
            return matrix
        own = torch.where(wide(case >= 0), self.cases[self._rows(case)], 0.0)
        return drawn_towards(own, self._batches(CASE_PRIOR, len(case)), matrix)

    def of_sources(self, case: Tensor) -> Tensor:
        """M of the sources that images' labels are from, or of all labels where that is not known; as `of_cases`."""
        everyones = self.matrix.repeat(len(case) // len(self.counts), 1, 1, 1)
        if not len(self.sources):
            return everyones
        source, counts = self._source(case), self.sources + self.known[len(self.counts) :]
        own = drawn_towards(counts[self._rows(source)], self._batches(SOURCE_PRIOR, len(case)), everyones)
        return torch.where(wide(source >= 0), own, everyones)

    def _batches(self, count: float, images: int) -> Tensor:
        """Pixels of every class in so many batches, and one more: what a prior weighs, (B, C, 1, 1)."""
        pixels = count * self.counts.sum(dim=(2, 3), keepdim=True) + 1  # and a pixel, before the first batch
        return pixels.repeat(images // len(self.counts), 1, 1, 1)

    def _source(self, case: Tensor) -> Tensor:
        """The source of every image, (B,); negative for an image from no case, or from one without a source."""
        known = (case >= 0) & (case < len(self.source_of))
        return torch.where(known, self.source_of[torch.where(known, case, 0)], -1)

    def _rows(self, number: Tensor) -> Tensor:
        """The rows of every image's case or source in its tables, (B,); 0 or more also where there is none."""
        groups = len(self.counts)
        return number.clamp_min(0) * groups + torch.arange(len(number), device=number.device) % groups

    def followed(
        self, labels: ImperfectLabels, belief: Tensor, decay: float, total: Total = unchanged
    ) -> ConfusionRecord:
        """The record after one more batch: the M step. Generated labels do not count: a network made them.

        Args:
            labels: each of those that an image has counts by itself.
            belief: (B, C, *S), the probability of every class; what it is where there is no label does not matter.
            decay: what remains of the old sums, from 0 to below 1.
            total: sums over the processes that share a batch.
        """
        labels, belief = labels.together, belief.repeat(len(labels.each), *[1] * (belief.ndim - 1))
        given = torch.where(labels.generated.view(-1, *[1] * (belief.ndim - 2)), -1, labels.classes)
        images = torch.nan_to_num(image_counts(belief, given, labels.levels))
        case = labels.case
        told = (case >= 0) & (case * labels.groups < len(self.cases))
        cases = followed(self.cases, self._rows(case), told, images, CASE_DECAY, total)
        sources = self.sources
        if len(sources):
            source = self._source(case)
            sources = followed(sources, self._rows(source), source >= 0, images, decay, total)
        seen = images.unflatten(0, (-1, labels.groups)).sum(0)
        counts = decay * self.counts + (1 - decay) * total(seen)
        return replace(self, counts=counts, cases=cases, sources=sources)
