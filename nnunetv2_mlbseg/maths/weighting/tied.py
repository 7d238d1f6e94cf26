"""Meta-learned weights that all pixels of one kind of dispute share (weighting "tied").

A pixel is disputed where its imperfect label n and its pseudo label p differ; (n, p) is the kind of dispute. Eq. 6 for
one pixel is mostly noise: its sign follows whatever the clean batch of the moment asks for. A weight that many pixels
share has the sum of their derivatives for its own (chain rule), and the sum over many pixels and iterations tells which
of the two labels the clean cases side with. Meta-Weight-Net (Shu et al. 2019) shares weights by a small network, this
module by a table of class pairs.

The share of the imperfect label in the weight of a disputed pixel is, on the scale of log-odds, the sum of

- what the pseudo labels' own probabilities say: log e_n / e_p;
- how the imperfect labels err, by their confusion matrix M at the pixel's depth d within its label and in its own case,
  less what image and label know in common: log M[n, n, d] / M[p, n, d] + k2 log P(n) / P(p), see
  :mod:`label_confusion`;
- what the clean batch says: strength * G[n, p], with G in [-1, 1] the tied derivative over its largest possible value.

The first two are Bayes' rule for the true class given image and imperfect label (Patrini et al. 2017 estimate M for
whole images); the third is the meta-learning, and corrects what the first two take from a network that has itself
learned from biased labels. A generated label (Eq. 1) is no witness of its own, since that network made it: it has
tables of its own, and no part in M.

Where both labels agree they may both be wrong: a noisy label misses what the network has not learned yet. There the
same rule weighs the class that they agree on against its rival, the next most probable one, and the rival gets what
remains. Without that a pixel that the network calls background stays background unless more than half of the labels of
such pixels say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import ImperfectLabels
from nnunetv2_mlbseg.maths.tangents.forward import normalize_weights
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord

PRIOR_EXTENT = 1.0
"""Pixels of average size, per iteration, that are counted as undecided: a single derivative decides nothing."""

LEAST_PROBABILITY = 0.03
"""Added to the network's probabilities: its word counts for about 30 to 1 at most. A network that knows a few scans by
heart is far more certain on other scans than it is right."""


@dataclass(frozen=True)
class DisputeRecord:
    """Running sums over iterations, float32. A new record is made of an old one, never changed.

    Attributes:
        gain: (2, C, C), [g, n, p]: the sum of the raw weight of n minus that of p (Eq. 6) over the disputed pixels; g
            is 1 for generated labels, 0 for given ones.
        extent: (2, C, C), the sum of its absolute value: the largest that ``gain`` can be.
        confusion: How the given labels err.
    """

    gain: Tensor
    extent: Tensor
    confusion: ConfusionRecord

    @classmethod
    def empty(cls, classes: int, cases: int = 0, device: torch.device | str = "cpu") -> DisputeRecord:
        """Nothing seen yet; ``cases`` is the number of noisy cases, or 0 where they are not told apart."""
        gain, extent = torch.zeros(2, 2, classes, classes, device=device)
        return cls(gain, extent, ConfusionRecord.empty(classes, cases, device))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> DisputeRecord:
        """Undo :meth:`state`."""
        return cls(state["gain"], state["extent"], ConfusionRecord(state["counts"], state["cases"]))

    @property
    def preference(self) -> Tensor:
        """G: (2, C, C) in [-1, 1], above 0 where the clean batch sides with the imperfect label n against p."""
        return self.gain / (self.extent + PRIOR_EXTENT)

    def unless_spoilt(self, before: DisputeRecord | None) -> DisputeRecord:
        """This record, or the one of before (an empty one for None) if a NaN or infinite value got into this one."""
        now = self.state()
        then = {name: torch.zeros_like(table) for name, table in now.items()} if before is None else before.state()
        good = torch.stack([torch.isfinite(table).all() for table in now.values()]).all()
        return self.from_state({name: torch.where(good, table, then[name]) for name, table in now.items()})

    def state(self) -> dict[str, Tensor]:
        """All tables, for a checkpoint."""
        confusion = self.confusion
        return {"gain": self.gain, "extent": self.extent, "counts": confusion.counts, "cases": confusion.cases}


@torch.no_grad()
def updated(
    record: DisputeRecord,
    raw_imperfect: Tensor,
    raw_pseudo: Tensor,
    imperfect: ImperfectLabels,
    pseudo: Tensor,
    probabilities: Tensor,
    decay: float,
    total: Total = unchanged,
) -> DisputeRecord:
    """The record after one more batch.

    The batch's derivatives are first divided by their mean size, so that a batch counts by its pixels and not by the
    length of its clean gradient. Derivatives that are not finite count as 0.

    Args:
        raw_imperfect, raw_pseudo: (B, *S), Eq. 6 for both labels.
        imperfect: labels of B images.
        pseudo: (B, *S) int64, negative = no label.
        probabilities: (B, C, *S), what the pseudo labels were taken from; 0 beyond the image.
        decay: what remains of the old sums, from 0 to below 1.
        total: sums over the processes that share a batch.
    """
    classes = probabilities.shape[1]
    disputed = _disputed(imperfect.classes, pseudo)
    difference = torch.where(disputed, at_least_float32(raw_imperfect - raw_pseudo), 0.0)
    difference = torch.nan_to_num(difference, nan=0.0, posinf=0.0, neginf=0.0)
    source, n, p = (each.expand_as(pseudo) for each in _kind(imperfect, pseudo))
    kind = ((source * classes + n) * classes + p).flatten()
    gain, extent = total(torch.stack([_sums(kind, values, classes) for values in (difference, difference.abs())]))
    scale = torch.where(extent.sum() > 0, total(disputed.sum()) / extent.sum(), 0.0)
    return DisputeRecord(
        decay * record.gain + (1 - decay) * gain * scale,
        decay * record.extent + (1 - decay) * extent * scale,
        record.confusion.followed(imperfect, record.confusion.belief(imperfect, _bounded(probabilities)), decay, total),
    )


def _bounded(probabilities: Tensor) -> Tensor:
    """The network's word: logarithms, no class less than :data:`LEAST_PROBABILITY`."""
    return (at_least_float32(probabilities) + LEAST_PROBABILITY).log()


def _disputed(imperfect: Tensor, pseudo: Tensor) -> Tensor:
    return (imperfect >= 0) & (pseudo >= 0) & (imperfect != pseudo)


def _sums(kind: Tensor, values: Tensor, classes: int) -> Tensor:
    sums = torch.zeros(2 * classes * classes, device=values.device, dtype=values.dtype)
    return sums.scatter_add(0, kind, values.flatten()).view(2, classes, classes)


def _kind(imperfect: ImperfectLabels, pseudo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What disputes are told apart by: source (B, 1, ...), imperfect and pseudo class (B, *S), as indices."""
    source = imperfect.generated.long().view(-1, *[1] * (pseudo.ndim - 1))
    return source, imperfect.classes.clamp_min(0), pseudo.clamp_min(0)


@torch.no_grad()
def tied_weights(
    record: DisputeRecord,
    imperfect: ImperfectLabels,
    pseudo: Tensor,
    probabilities: Tensor,
    strength: float,
    rival: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Both labels' parts of every pixel's weight, of at most 1 together; what remains is the rival's.

    Where a given label and the pseudo label agree, each has half of what their class has against its rival; where a
    generated label agrees, one half each. Where there is one label it has all.

    Args:
        imperfect: labels of B images.
        pseudo: (B, *S) int64, negative = no label.
        probabilities: (B, C, *S), what the pseudo labels were taken from.
        strength: what a preference of 1 adds to the log-odds.
        rival: what :func:`rivals` finds, where the caller has it already.

    Returns:
        Two maps (B, *S) from 0 to 1, no unit. No gradient flows.
    """
    source, n, p = _kind(imperfect, pseudo)
    agreed = imperfect.classes == pseudo
    against = torch.where(agreed, rivals(imperfect.classes, probabilities) if rival is None else rival, p)
    logs = _bounded(probabilities)
    odds = _at(logs, n) - _at(logs, against) + record.confusion.evidence(imperfect, against)
    part = (odds + torch.where(agreed, 0.0, strength * record.preference[source, n, p])).sigmoid()
    half = torch.where(source == 1, 0.5, part / 2)
    has_n, has_p = imperfect.classes >= 0, pseudo >= 0
    of_n, of_p = torch.where(agreed, half, part), torch.where(agreed, half, 1 - part)
    return torch.where(has_n & has_p, of_n, has_n.to(part.dtype)), torch.where(has_n, of_p, 1.0) * has_p


@torch.no_grad()
def rivals(imperfect: Tensor, probabilities: Tensor) -> Tensor:
    """The most probable class other than the imperfect label: (B, *S) and (B, C, *S) to (B, *S) int64.

    In a dispute that is the pseudo label.
    """
    others = at_least_float32(probabilities).scatter(1, imperfect.clamp_min(0).unsqueeze(1), -1.0)
    return others.argmax(dim=1)


@torch.no_grad()
def normalized_parts(
    part_n: Tensor, part_p: Tensor, how: str, total: Total = unchanged
) -> tuple[Tensor, Tensor, Tensor]:
    """Both parts and the rival's, which is what they leave of 1, normalised (Eq. 7, 8).

    Pseudo label and rival count as one map: with ``joint`` everything adds up to 1, with ``sum`` the imperfect label's
    map does and the other two together.

    Args:
        part_n, part_p: (B, *S), what :func:`tied_weights` returns; both 0 where a pixel has no label.
        how: see :func:`~nnunetv2_mlbseg.maths.tangents.forward.normalize_weights`.
        total: sums over the processes that share a batch.

    Returns:
        Weights of imperfect label, pseudo label and rival, (B, *S) each, no unit.
    """
    left = torch.where(part_n + part_p > 0, 1 - part_n - part_p, 0.0).clamp_min(0)
    weight_n, others = normalize_weights(part_n, part_p + left, how, total=total)
    weight_r = others * left / (part_p + left).clamp_min(torch.finfo(left.dtype).tiny)
    return weight_n, others - weight_r, weight_r


def _at(maps: Tensor, labels: Tensor) -> Tensor:
    """The value of each pixel's own class: (B, C, *S) and (B, *S) to (B, *S)."""
    return maps.gather(1, labels.unsqueeze(1)).squeeze(1)
