"""What imperfect labels say of a pixel's true class, by how they err (see `confusion`).

Bayes' rule of two witnesses, e_t M[t, n, d], takes image and label for independent, given the class. They are not: both
know where the structure is. A pixel beside the border of the label is one that the image puts there as well, and the
rule counts twice that the rare class is found there: structures grow without end as a network learns from it. For a
network that knows nothing of where the structure is the rule is right. In between stands e_t M[t, n, d] P(t)^k2, with
the share P(t) of class t, and k2 the square of Cohen's kappa (1960) between what is believed and the labels: like r2 of
two series of numbers, the part that they have in common.

Where an image has several labels, by several readers say, each is a witness with a matrix of its own, and the words of
all multiply (Dawid and Skene 1979): e_t prod_s M_s[t, n_s, d_s] P(t)^k2. Each may be missing, of an image or a pixel.
Each knows where the structure is, so k2 counts for each: with one for all of them structures grow without end as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord

LEAST_CONFUSION = 1e-3
"""Added before taking the logarithm, so that a class pair without counts does not decide alone."""


def belief(record: ConfusionRecord, labels: ImperfectLabels, network: Tensor) -> Tensor:
    """The probability of every class given image and labels: the E step.

    Args:
        network: (B, C, *S), the network's probabilities, none of them 0, up to a factor for each pixel.

    Returns:
        (B, C, *S), adds up to 1. Of no use where there is no label.
    """
    found = network.to(record.counts.dtype, copy=True)
    for one in labels.each:
        tables, kinds = _words(record, one)
        factors = (tables - tables.amax(dim=1, keepdim=True)).exp()  # of tables, not of maps: far fewer numbers
        said = factors.gather(2, kinds.flatten(1).unsqueeze(1).expand(-1, factors.shape[1], -1)).view(network.shape)
        found *= torch.where((one.classes >= 0).unsqueeze(1), said, 1.0) if labels.witnesses else said
        found /= found.sum(dim=1, keepdim=True)
    return found


def evidence(record: ConfusionRecord, labels: ImperfectLabels, against: Tensor) -> Tensor:
    """What given labels add to the log-odds of the class n = ``labels.classes`` against class a.

    log M[n, m, d] / M[a, m, d] + k2 log P(n) / P(a), summed over the labels m of the pixel; m is n where it has one.

    Args:
        against: (B, *S) int64, class a, 0 or more.

    Returns:
        (B, *S); 0 for generated labels, which are no witnesses of their own.
    """
    own = labels.classes.clamp_min(0)
    found = torch.zeros(against.shape, dtype=record.counts.dtype, device=against.device)
    for one in labels.each:
        words = _words(record, one)
        said = _said(*words, own) - _said(*words, against)
        found += torch.where(one.classes >= 0, said, 0.0) if labels.witnesses else said
    return torch.where(labels.generated.view(-1, *[1] * (against.ndim - 1)), 0.0, found)


def united(record: ConfusionRecord, kinds: Sequence[ImperfectLabels]) -> ImperfectLabels:
    """What all labels of the same images say together: at every pixel the class that is most probable by them alone.

    Where there is one label, or all agree, it is that one.

    Args:
        kinds: The labels of every kind, of which an image has one at least; negative where it has none.
    """
    first, *others = kinds
    classes = first.classes
    for one in others:
        classes = torch.where(classes >= 0, classes, one.classes)
    disputed = torch.stack([(one.classes >= 0) & (one.classes != classes) for one in kinds]).any(0)
    words = [(one.classes >= 0, _words(record, one)) for one in kinds]
    best, likely = torch.full(classes.shape, -torch.inf, device=classes.device), classes
    for label in range(record.counts.shape[1]):  # one map at a time
        asked = torch.full_like(classes, label)
        says = torch.stack([torch.where(there, _said(*word, asked), 0.0) for there, word in words]).sum(0)
        best, likely = torch.maximum(best, says), torch.where(says > best, label, likely)
    return replace(first, classes=torch.where(disputed, likely, classes), witnesses=tuple(kinds))


def _words(record: ConfusionRecord, labels: ImperfectLabels) -> tuple[Tensor, Tensor]:
    """What labels say for each class, log M + k2 log P: tables (B, C, C * D), and the column of every pixel.

    A column is a label at a depth. The words of all classes at all pixels are C times as many: look up what is needed.
    """
    matrices = record.of_cases(labels.case)
    depths, common = matrices.shape[3], record.common.repeat(len(matrices) // len(record.counts), 1)
    logs = (matrices + LEAST_CONFUSION / depths).log() + common.unsqueeze(2).unsqueeze(3)
    kinds = labels.classes.clamp_min(0) * depths + labels.levels.clamp_min(0)  # label and depth as one number
    return logs.flatten(2), kinds


def _said(tables: Tensor, kinds: Tensor, classes: Tensor) -> Tensor:
    """What labels say for one class at every pixel, (B, *S)."""
    places = classes * tables.shape[2] + kinds
    return tables.flatten(1).gather(1, places.flatten(1)).view(places.shape)
