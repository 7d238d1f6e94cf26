"""Meta-learned weights that all pixels of one kind of dispute share (weighting "tied").

A pixel is disputed where its imperfect label n and its pseudo label p differ; (n, p) is the kind of dispute. Eq. 6 for
one pixel is mostly noise: its sign follows whatever the clean batch of the moment asks for. A weight that many pixels
share has the sum of their derivatives for its own (chain rule), and the sum over many pixels and iterations tells which
of the two labels the clean cases side with. Meta-Weight-Net (Shu et al. 2019) shares weights by a small network, this
module by a table of class pairs (`maths/weighting/disputes`).

The share of the imperfect label in the weight of a disputed pixel is, on the scale of log-odds, the sum of

- what the pseudo labels' own probabilities say: log e_n / e_p;
- how the imperfect labels err, by their confusion matrix M at the pixel's depth d within its label and in its own case,
  less what image and label know in common: log M[n, n, d] / M[p, n, d] + k2 log P(n) / P(p), see
  `maths/weighting/confusion` and `maths/weighting/testimony`, also for images with several labels;
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
from typing import ClassVar

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import ImperfectLabels, WeightedLabels, resize_labels
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord, bounded, kind_of_dispute
from nnunetv2_mlbseg.maths.weighting.meta import label_weights
from nnunetv2_mlbseg.maths.weighting.normalization import normalized_parts
from nnunetv2_mlbseg.maths.weighting.seen import Seen
from nnunetv2_mlbseg.maths.weighting.testimony import evidence


@dataclass(frozen=True)
class Tied:
    """Both labels by what many pixels and batches say of such disputes; coarse scales show the finest one's weights.

    Attributes:
        normalization: see `normalize_weights`.
        decay: what remains of the sums over earlier batches, from 0 to below 1.
        strength: what a preference of 1 adds to the log-odds.
    """

    normalization: str
    decay: float
    strength: float

    needs_tangents: ClassVar[bool] = True
    weighs_by_tangents: ClassVar[bool] = False

    def begin(self, classes: int, cases: int = 0, device: torch.device | str = "cpu", groups: int = 1) -> DisputeRecord:
        """Tables without a pixel in them."""
        return DisputeRecord.empty(classes, cases, device, groups)

    def learned(self, seen: Seen, state: DisputeRecord, total: Total = unchanged) -> DisputeRecord:
        """The tables with one more batch in them, by the derivatives of the finest scale.

        Raises:
            ValueError: no derivatives.
        """
        finest = seen.needed_derivatives()[0]
        images = len(finest)
        raw = label_weights(finest, seen.imperfect.classes[:images]), label_weights(finest, seen.pseudo[:images])
        return state.followed(*raw, seen.imperfect, seen.pseudo, seen.ensemble, self.decay, total)

    def weigh(self, seen: Seen, state: DisputeRecord, total: Total = unchanged) -> list[WeightedLabels]:
        """Labels, raw weights and rivals at full resolution, resized by one rule, normalised. No derivatives needed."""
        rival = rivals(seen.imperfect.classes, seen.ensemble)
        parts = tied_weights(state, seen.imperfect, seen.pseudo, seen.ensemble, self.strength, rival)
        maps = (seen.imperfect.classes, seen.pseudo, *parts, rival)
        weighted = []
        for size in seen.sizes:
            n, p, raw_n, raw_p, r = (resize_labels(each, size) for each in maps)
            weight_n, weight_p, weight_r = normalized_parts(raw_n, raw_p, self.normalization, total)
            weighted.append(WeightedLabels(n, p, raw_n, raw_p, weight_n, weight_p, r, weight_r))
        return weighted


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
        rival: what `rivals` finds, where the caller has it already.

    Returns:
        Two maps (B, *S) from 0 to 1, no unit. No gradient flows.
    """
    source, n, p = kind_of_dispute(imperfect, pseudo)
    agreed = imperfect.classes == pseudo
    against = torch.where(agreed, rivals(imperfect.classes, probabilities) if rival is None else rival, p)
    word = bounded(_at(probabilities, n)).log() - bounded(_at(probabilities, against)).log()
    odds = word + evidence(record.confusion, imperfect, against)
    part = (odds + torch.where(agreed, 0.0, strength * record.preference[source, n, p])).sigmoid()
    half = torch.where(source % 2 == 1, 0.5, part / 2)
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


def _at(maps: Tensor, labels: Tensor) -> Tensor:
    """The value of each pixel's own class: (B, C, *S) and (B, *S) to (B, *S)."""
    return maps.gather(1, labels.unsqueeze(1)).squeeze(1)
