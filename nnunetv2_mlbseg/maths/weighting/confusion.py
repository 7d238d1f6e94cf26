"""How imperfect labels err: confusion matrices by depth within the label, of all labels and of every case.

M[t, n, d] is the probability that a pixel of class t has the label n at depth d (see `maths/weighting/depth`). Over the
depths it adds up to the confusion matrix that Patrini et al. (2017) and Northcutt et al. (2021) estimate for whole
images. Bayes' rule needs the depth as well: in labels that are too large for their structure class 0 hides near the
border of label 1, and a matrix without depth can only say that some of those pixels, anywhere, are wrong.

Labels differ between cases (one is too large, the next one too small), hence a matrix for every case, drawn towards
the one of all.

Bayes' rule of two witnesses, e_t M[t, n, d], takes image and label for independent, given the class. They are not: both
know where the structure is. A pixel beside the border of the label is one that the image puts there as well, and the
rule counts twice that the rare class is found there: structures grow without end as a network learns from it. For a
network that knows nothing of where the structure is the rule is right. In between stands e_t M[t, n, d] P(t)^k2, with
the share P(t) of class t, and k2 the square of Cohen's kappa (1960) between what is believed and the labels: like r2 of
two series of numbers, the part that they have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.binned import binned
from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS

PRIOR_DIAGONAL = 0.8
"""The confusion matrix before the first pixel is seen: this much on the diagonal, the rest evenly, each divided evenly
among the depths."""

CASE_DECAY = 0.95
"""What remains of a case's counts when the case comes up again: its last 20 appearances or so."""

CASE_PRIOR = 1.0
"""The matrix of all cases counts in that of each case as much as so many batches."""

LEAST_CONFUSION = 1e-3
"""Added before taking the logarithm, so that a class pair without counts does not decide alone."""


@dataclass(frozen=True)
class ConfusionRecord(Record):
    """Running sums over iterations, float32; G groups of classes, see `maths/label_space`.

    Attributes:
        counts: (G, C, C, D), [g, t, n, d]: pixels believed to be of class t (in probability) with the given label n at
            depth d, in a batch.
        cases: (N*G, C, C, D), the same of every noisy case alone, over its last appearances, the groups of a case one
            after the other. N is 0 where cases are not told apart.
    """

    counts: Tensor
    cases: Tensor

    @classmethod
    def empty(
        cls, classes: int, cases: int = 0, device: torch.device | str = "cpu", groups: int = 1
    ) -> ConfusionRecord:
        """Nothing seen yet."""
        shape = (classes, classes, LEVELS)
        return cls(torch.zeros(groups, *shape, device=device), torch.zeros(cases * groups, *shape, device=device))

    @classmethod
    def of_former(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of an earlier version, whose counts (C, C, D) knew one group."""
        counts = state["counts"]
        return {**state, "counts": counts.unsqueeze(0) if counts.ndim == 3 else counts}

    @property
    def matrix(self) -> Tensor:
        """M of all labels: (G, C, C, D), for every class t the probabilities of label and depth; they add up to 1."""
        _, classes, _, depths = self.counts.shape
        even = torch.full((classes, classes), (1 - PRIOR_DIAGONAL) / classes, device=self.counts.device)
        prior = even + PRIOR_DIAGONAL * torch.eye(classes, device=self.counts.device)
        return _normalized(self.counts + prior.unsqueeze(2) / depths)

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
        shared, groups = self.matrix, len(self.counts)
        if not len(self.cases):
            return shared.repeat(len(case) // groups, 1, 1, 1)
        own = torch.where(_wide(case >= 0), self.cases[self._rows(case)], 0.0)
        weight = CASE_PRIOR * self.counts.sum(dim=(2, 3), keepdim=True) + 1  # and a pixel, before the first batch
        return _normalized(own + (weight * shared).repeat(len(case) // groups, 1, 1, 1))

    def _rows(self, case: Tensor) -> Tensor:
        """Which of ``cases`` are those of every image, (B,); 0 or more for an image from no case as well."""
        groups = len(self.counts)
        return case.clamp_min(0) * groups + torch.arange(len(case), device=case.device) % groups

    def followed(
        self, labels: ImperfectLabels, belief: Tensor, decay: float, total: Total = unchanged
    ) -> ConfusionRecord:
        """The record after one more batch: the M step. Generated labels do not count: a network made them.

        Args:
            belief: (B, C, *S), the probability of every class; what it is where there is no label does not matter.
            decay: what remains of the old sums, from 0 to below 1.
            total: sums over the processes that share a batch.
        """
        given = torch.where(_per_image(labels.generated, labels.classes), -1, labels.classes)
        images = torch.nan_to_num(image_counts(belief, given, labels.levels))
        known = len(self.cases)
        told = (labels.case >= 0) & (labels.case * labels.groups < known)  # of other images the first case gets nothing
        row, own = self._rows(torch.where(told, labels.case, 0)), torch.where(_wide(told), images, 0.0)
        rows = max(known, labels.groups)
        there = total(images.new_zeros(rows).index_add(0, row, told.to(images.dtype)))[:known] > 0
        cases = self.cases * _wide(torch.where(there, CASE_DECAY, 1.0))
        if known and total is unchanged:
            cases.index_add_(0, row, own)
        elif known:
            cases += total(torch.zeros_like(cases).index_add_(0, row, own))
        seen = images.unflatten(0, (-1, labels.groups)).sum(0)
        counts = decay * self.counts + (1 - decay) * total(seen)
        return ConfusionRecord(counts, cases)

    def belief(self, labels: ImperfectLabels, network: Tensor) -> Tensor:
        """The probability of every class given image and label: the E step.

        Args:
            network: (B, C, *S), the network's probabilities, none of them 0, up to a factor for each pixel.

        Returns:
            (B, C, *S), adds up to 1. Of no use where there is no label.
        """
        tables, kinds = self._words(labels)
        factors = (tables - tables.amax(dim=1, keepdim=True)).exp()  # of tables, not of maps: far fewer numbers
        found = factors.gather(2, kinds.flatten(1).unsqueeze(1).expand(-1, factors.shape[1], -1)).view(network.shape)
        found *= network
        found /= found.sum(dim=1, keepdim=True)
        return found

    def evidence(self, labels: ImperfectLabels, against: Tensor) -> Tensor:
        """What a given label adds to the log-odds of its own class n against class a.

        log M[n, n, d] / M[a, n, d] + k2 log P(n) / P(a).

        Args:
            against: (B, *S) int64, class a, 0 or more.

        Returns:
            (B, *S); 0 for generated labels, which are no witnesses of their own.
        """
        tables, kinds = self._words(labels)
        tables = tables.flatten(1)

        def word(classes: Tensor) -> Tensor:
            places = classes * (tables.shape[1] // self.counts.shape[1]) + kinds
            return tables.gather(1, places.flatten(1)).view(kinds.shape)

        difference = word(labels.classes.clamp_min(0)) - word(against)
        return torch.where(_per_image(labels.generated, against), 0.0, difference)

    def _words(self, labels: ImperfectLabels) -> tuple[Tensor, Tensor]:
        """What labels say for each class, log M + k2 log P: tables (B, C, C * D), and the column of every pixel.

        A column is a label at a depth. The words of all classes at all pixels are C times as many: look up what is
        needed.
        """
        matrices = self.of_cases(labels.case)
        depths = matrices.shape[3]
        common = self.common.repeat(len(matrices) // len(self.counts), 1)
        logs = (matrices + LEAST_CONFUSION / depths).log() + common.unsqueeze(2).unsqueeze(3)
        kinds = labels.classes.clamp_min(0) * depths + labels.levels.clamp_min(0)  # label and depth as one number
        return logs.flatten(2), kinds


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


def _normalized(counts: Tensor) -> Tensor:
    return counts / counts.sum(dim=(-2, -1), keepdim=True)


def _wide(flags: Tensor) -> Tensor:
    return flags.view(-1, 1, 1, 1)


def _per_image(values: Tensor, like: Tensor) -> Tensor:
    """(B,) to (B, 1, ...), beside (B, *S)."""
    return values.view(-1, *[1] * (like.ndim - 1))
