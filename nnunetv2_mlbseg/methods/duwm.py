"""Double-uncertainty weighting, after Wang et al. (MICCAI 2020): written from the description, there is no code.

L = sup + r (w_a <e^-U_s (p - q)^2> + w_f <e^-U_f (h - h')^2>) on clean and imperfect images, both squares as means over
channels, r the ramp. p and h are the student's probabilities and last features; q and h' the means of T teacher passes,
each with noise and dropout of its own. U_s is the entropy of q over ln C, U_f that of the mean softmax over the
channels of the features, over the logarithm of their number.

The paper also adds the uncertainties themselves. They are the teacher's alone, which takes no gradient, so the sum is
left out. T is 4, and the weights are that of UA-MT, on which the method builds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.entropy import entropy
from nnunetv2_mlbseg.maths.tensors import share_of_mean
from nnunetv2_mlbseg.maths.uncertainty import mean_of, squared_distance
from nnunetv2_mlbseg.methods.shared.draws import disturbed
from nnunetv2_mlbseg.methods.unsure_teacher import UnsureTeacher, UnsureTeacherSettings
from nnunetv2_mlbseg.networks.features import Features
from nnunetv2_mlbseg.settings.rules import number, whole
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms


class DUWMSettings(UnsureTeacherSettings):
    """The keys of double-uncertainty weighting."""

    feature_weight: float = number(0.2, least=0, unit="factor", source="that of UA-MT; not in the description")
    """Factor of the squared distance between the last features of student and teacher."""
    uncertainty_passes: int = whole(4, least=1, unit="passes", source="half of UA-MT's; not in the description")
    """Teacher passes that say how sure it is."""


class DUWM(UnsureTeacher):
    """Agreement of student and teacher, weighted by how sure the teacher is of prediction and features."""

    Settings: ClassVar = DUWMSettings
    settings: DUWMSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **UnsureTeacher.quantities,
        "agreement": "weighted distance of predictions",
        "features": "weighted distance of features",
    }
    card: ClassVar[Card] = Card(
        idea="agreement weighted by uncertainty of prediction and features",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=14 / 3,
        citation="Wang et al., MICCAI 2020",
        reconstruction=True,
    )

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch, and the weighted distances in all images."""
        of_clean = self.passes.features(clean.images)
        of_imperfect = self.passes.features(imperfect.images, within=self.within())
        both = [self.distances(*of_clean, clean.images), self.distances(*of_imperfect, imperfect.images)]
        predictions, features = (share_of_mean(torch.cat(maps), self.passes.total) for maps in zip(*both, strict=True))
        settings, rise = self.settings, self.ramp(moment)
        losses = {
            "supervised": self.supervised(clean, of_clean[0]),
            "agreement": rise * settings.agreement_weight * predictions,
            "features": rise * settings.feature_weight * features,
        }
        return Terms(losses | self.face_value(imperfect, of_imperfect[0]))

    def distances(self, outputs: list[Tensor], features: Features, images: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted distances of predictions and of features at every pixel, ``(B, *S)`` both."""
        p, h = outputs[0].softmax(dim=1), last_of(features)
        q, of_teacher, shares = self.means(images, [p.shape[1], h.shape[1], h.shape[1]])
        unsure = entropy(q) / math.log(q.shape[1]), entropy(shares) / math.log(shares.shape[1])
        return torch.exp(-unsure[0]) * squared_distance(p, q), torch.exp(-unsure[1]) * squared_distance(h, of_teacher)

    @torch.no_grad()
    def means(self, images: Tensor, channels: list[int]) -> tuple[Tensor, ...]:
        """Over the teacher's passes: its probabilities, its last features, and their softmax."""
        passes = range(self.settings.uncertainty_passes)
        return mean_of(self.one_pass(images) for _ in passes).split(channels, dim=1)

    def one_pass(self, images: Tensor) -> Tensor:
        """All three of a pass, one after the other along the channels."""
        shown = disturbed(self.passes, images, self.settings.teacher_noise)
        outputs, features = self.passes.features(shown, self.passes.teacher_network, self.within())
        last = last_of(features)
        return torch.cat([outputs[0].softmax(dim=1), last, last.softmax(dim=1)], dim=1)


def last_of(features: Features) -> Tensor:
    """What the network classifies, ``(B, F, *S)``."""
    assert features.last is not None, "every pass of a network with a decoder has them"
    return features.last
