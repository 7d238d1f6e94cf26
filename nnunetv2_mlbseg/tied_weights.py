"""Meta-learned weights that all pixels of one kind of dispute share (weighting "tied").

A pixel is disputed where its imperfect label n and its pseudo label p differ; (n, p) is the kind of dispute. Eq. 6 for
one pixel is mostly noise: its sign follows whatever the clean batch of the moment asks for. A weight that many pixels
share has the sum of their derivatives for its own (chain rule), and the sum over many pixels and iterations tells which
of the two labels the clean cases side with. Meta-Weight-Net (Shu et al. 2019) shares weights by a small network, this
module by a table of class pairs.

The share of the imperfect label in the weight of a disputed pixel is, on the scale of log-odds, the sum of

- what the pseudo labels' own probabilities say: log e_n / e_p;
- how the imperfect labels err, by their confusion matrix M against those probabilities: log M[n, n] / M[p, n];
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

from dataclasses import dataclass

import torch
from torch import Tensor

from nnunetv2_mlbseg.meta_reweighting import normalize_weights
from nnunetv2_mlbseg.tensors import Total, at_least_float32, unchanged

PRIOR_DIAGONAL = 0.8
"""The confusion matrix before the first pixel is seen: this much on the diagonal, the rest evenly."""

PRIOR_EXTENT = 1.0
"""Pixels of average size, per iteration, that are counted as undecided: a single derivative decides nothing."""

LEAST_PROBABILITY = 0.03
"""Added to the network's probabilities: its word counts for about 30 to 1 at most. A network that knows a few scans by
heart is far more certain on other scans than it is right."""

LEAST_CONFUSION = 1e-3
"""Added before taking the logarithm, so that a class pair without counts does not decide alone."""


@dataclass(frozen=True)
class DisputeRecord:
    """Running sums over iterations, float32. A new record is made of an old one, never changed.

    Attributes:
        gain: (2, C, C), [g, n, p]: the sum of the raw weight of n minus that of p (Eq. 6) over the disputed pixels; g
            is 1 for generated labels, 0 for given ones.
        extent: (2, C, C), the sum of its absolute value: the largest that ``gain`` can be.
        counts: (C, C), [t, n]: pixels of class t (in probability) that have the given label n.
    """

    gain: Tensor
    extent: Tensor
    counts: Tensor

    @classmethod
    def empty(cls, classes: int, device: torch.device | str = "cpu") -> DisputeRecord:
        """Nothing seen yet."""
        gain, extent = torch.zeros(2, 2, classes, classes, device=device)
        return cls(gain, extent, torch.zeros(classes, classes, device=device))

    @property
    def preference(self) -> Tensor:
        """G: (2, C, C) in [-1, 1], above 0 where the clean batch sides with the imperfect label n against p."""
        return self.gain / (self.extent + PRIOR_EXTENT)

    @property
    def confusion(self) -> Tensor:
        """M: (C, C), row t holds the probabilities of every imperfect label on pixels of class t."""
        classes = self.counts.shape[0]
        prior = torch.full_like(self.counts, (1 - PRIOR_DIAGONAL) / classes)
        counts = self.counts + prior + PRIOR_DIAGONAL * torch.eye(classes, device=prior.device)
        return counts / counts.sum(dim=1, keepdim=True)

    def unless_spoilt(self, before: DisputeRecord | None) -> DisputeRecord:
        """This record, or the one of before (an empty one for None) if a NaN or infinite value got into this one."""
        now = self.state()
        then = {name: torch.zeros_like(table) for name, table in now.items()} if before is None else before.state()
        good = torch.stack([torch.isfinite(table).all() for table in now.values()]).all()
        return DisputeRecord(**{name: torch.where(good, table, then[name]) for name, table in now.items()})

    def state(self) -> dict[str, Tensor]:
        """The three tables, for a checkpoint."""
        return {"gain": self.gain, "extent": self.extent, "counts": self.counts}


@torch.no_grad()
def updated(
    record: DisputeRecord,
    raw_imperfect: Tensor,
    raw_pseudo: Tensor,
    imperfect: Tensor,
    pseudo: Tensor,
    probabilities: Tensor,
    generated: Tensor,
    decay: float,
    total: Total = unchanged,
) -> DisputeRecord:
    """The record after one more batch.

    The batch's derivatives are first divided by their mean size, so that a batch counts by its pixels and not by the
    length of its clean gradient. Derivatives that are not finite count as 0.

    Args:
        raw_imperfect, raw_pseudo: (B, *S), Eq. 6 for both labels.
        imperfect, pseudo: (B, *S) int64, negative = no label.
        probabilities: (B, C, *S), what the pseudo labels were taken from; 0 beyond the image.
        generated: (B,) bool, whose imperfect label a network made.
        decay: what remains of the old sums, from 0 to below 1.
        total: sums over the processes that share a batch.
    """
    classes = probabilities.shape[1]
    both = (imperfect >= 0) & (pseudo >= 0)
    difference = torch.where(both & (imperfect != pseudo), at_least_float32(raw_imperfect - raw_pseudo), 0.0)
    difference = torch.nan_to_num(difference, nan=0.0, posinf=0.0, neginf=0.0)
    source, n, p = (each.expand_as(imperfect) for each in _kind(imperfect, pseudo, generated))
    kind = ((source * classes + n) * classes + p).flatten()
    gain, extent = (_sums(kind, values, classes) for values in (difference, difference.abs()))
    counts = torch.nan_to_num(_counts(probabilities, torch.where(source == 1, -1, imperfect)))
    tables = total(torch.cat([gain, extent, counts.unsqueeze(0)]))
    gain, extent, counts = tables[:2], tables[2:4], tables[4]
    disputed = total((both & (imperfect != pseudo)).sum())
    scale = torch.where(extent.sum() > 0, disputed / extent.sum(), 0.0)
    batch = (gain * scale, extent * scale, counts)
    old = (record.gain, record.extent, record.counts)
    return DisputeRecord(*(decay * before + (1 - decay) * now for before, now in zip(old, batch, strict=True)))


def _sums(kind: Tensor, values: Tensor, classes: int) -> Tensor:
    sums = torch.zeros(2 * classes * classes, device=values.device, dtype=values.dtype)
    return sums.scatter_add(0, kind, values.flatten()).view(2, classes, classes)


def _kind(imperfect: Tensor, pseudo: Tensor, generated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What disputes are told apart by: source (B, 1, ...), imperfect and pseudo class (B, *S), as indices."""
    source = generated.long().view(-1, *[1] * (imperfect.ndim - 1))
    return source, imperfect.clamp_min(0), pseudo.clamp_min(0)


def _counts(probabilities: Tensor, imperfect: Tensor) -> Tensor:
    """[t, n]: the probability of class t, summed over the pixels with the imperfect label n."""
    classes = torch.arange(probabilities.shape[1], device=imperfect.device)
    one_hot = imperfect.flatten().unsqueeze(1) == classes  # torch's own one_hot reads its input on the host
    rows = at_least_float32(probabilities).movedim(1, -1).flatten(0, -2)
    return rows.T @ one_hot.to(rows.dtype)


@torch.no_grad()
def tied_weights(
    record: DisputeRecord,
    imperfect: Tensor,
    pseudo: Tensor,
    probabilities: Tensor,
    generated: Tensor,
    strength: float,
    rival: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Both labels' parts of every pixel's weight, of at most 1 together; what remains is the rival's.

    Where a given label and the pseudo label agree, each has half of what their class has against its rival; where a
    generated label agrees, one half each. Where there is one label it has all.

    Args:
        imperfect, pseudo: (B, *S) int64, negative = no label.
        probabilities: (B, C, *S), what the pseudo labels were taken from.
        generated: (B,) bool, whose imperfect label a network made.
        strength: what a preference of 1 adds to the log-odds.
        rival: what :func:`rivals` finds, where the caller has it already.

    Returns:
        Two maps (B, *S) from 0 to 1, no unit. No gradient flows.
    """
    source, n, p = _kind(imperfect, pseudo, generated)
    agreed = imperfect == pseudo
    against = torch.where(agreed, rivals(imperfect, probabilities) if rival is None else rival, p)
    logs = (at_least_float32(probabilities) + LEAST_PROBABILITY).log()
    odds = _at(logs, n) - _at(logs, against)
    confusion = (record.confusion + LEAST_CONFUSION).log()
    odds = odds + torch.where(source == 1, 0.0, confusion[n, n] - confusion[against, n])
    part = (odds + torch.where(agreed, 0.0, strength * record.preference[source, n, p])).sigmoid()
    half = torch.where(source == 1, 0.5, part / 2)
    has_n, has_p = imperfect >= 0, pseudo >= 0
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
        how: see :func:`~nnunetv2_mlbseg.meta_reweighting.normalize_weights`.
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
