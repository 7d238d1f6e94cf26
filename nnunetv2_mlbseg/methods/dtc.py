"""Dual-task consistency (DTC): a segmentation and a signed distance map from the same features should agree.

L = sup + w_d <(z - SDM(y))^2> on clean images + w_c r <(sigmoid(-k z) - p)^2> on all, z the head's map and p the
probabilities, both per foreground class; r is the ramp, k = 1,500. Weights and slope are those of the authors' code,
whose sup is Dice alone. k z passes gradient only near z = 0, less than a pixel from the boundary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from nnunetv2_mlbseg.maths.signed_distance import probability_of_distance
from nnunetv2_mlbseg.maths.tensors import share_of_mean
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.distance_head import WithDistances
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms

AUTHORS = "the authors' code"


class DTCSettings(SemiSupervisedSettings):
    """The keys of DTC."""

    distance_weight: float = number(0.3, least=0, unit="factor", source=AUTHORS)
    """Factor of the squared distance between predicted and true distance maps of clean images."""
    consistency_weight: float = number(1.0, least=0, unit="factor", source=AUTHORS)
    """Factor of the squared distance between probabilities and what the distance maps say, on all images."""
    slope: float = number(1500.0, least=0, open_ends=True, most=1e6, source=AUTHORS)
    """How steeply a distance map turns into a probability, per half the width of a map (a map goes from -1 to 1)."""


class DTC(WithDistances):
    """Agreement of two tasks of one network."""

    Settings: ClassVar = DTCSettings
    settings: DTCSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **SemiSupervised.quantities,
        "distance": "distance maps of clean images",
        "consistency": "maps and probabilities agree",
    }
    card: ClassVar[Card] = Card(
        idea="segmentation and distance map agree",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=2,
        citation="Luo et al., AAAI 2021",
    )

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """Clean labels for both tasks, and both tasks for each other on both batches."""
        outputs, distances = self.seen(clean.images)
        others, of_others = self.seen(imperfect.images)
        losses = {
            "supervised": self.supervised(clean, outputs),
            "distance": self.settings.distance_weight * self.regression(distances, clean.target),
        }
        apart = (self.disagreement(outputs, distances) + self.disagreement(others, of_others)) / 2
        losses["consistency"] = self.ramp(moment) * self.settings.consistency_weight * apart
        return Terms(losses | self.face_value(imperfect, others))

    def disagreement(self, outputs: list[Tensor], distances: Tensor) -> Tensor:
        """Of one batch: its mean over classes, pixels and images; gradient flows into both tasks."""
        by_distance = probability_of_distance(distances, self.settings.slope)
        apart = (by_distance - outputs[0].softmax(dim=1)[:, 1:]).square()
        return share_of_mean(apart, self.passes.total)
