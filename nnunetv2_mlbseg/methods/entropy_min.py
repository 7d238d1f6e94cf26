"""Entropy minimisation (MinEnt): predictions on images without a label should be certain.

L = sup + w r <-sum_c p_c log p_c> / ln C on the imperfect images, r the ramp. The weight is that of SSL4MIS, doubled,
because nnU-Net's sup is twice theirs. Their entropy is of all images; here it is of those without a label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from nnunetv2_mlbseg.maths.entropy import relative_entropy_of_logits
from nnunetv2_mlbseg.maths.tensors import share_of_mean
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms


class EntropyMinSettings(SemiSupervisedSettings):
    """The keys of entropy minimisation."""

    entropy_weight: float = number(
        0.2, least=0, unit="factor", source="SSL4MIS (0.1 beside a supervised loss of half the size); ADVENT has 0.001"
    )
    """Factor of the entropy."""


class EntropyMin(SemiSupervised):
    """Certain predictions on imperfect images. All background is certain, too."""

    Settings: ClassVar = EntropyMinSettings
    settings: EntropyMinSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **SemiSupervised.quantities,
        "entropy": "entropy of imperfect images",
    }
    card: ClassVar[Card] = Card(
        idea="certain predictions on images without a label",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=2,
        citation="Vu et al., CVPR 2019",
    )

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch, and the entropy of the imperfect one."""
        losses = {"supervised": self.supervised(clean)}
        outputs = self.passes.student(imperfect.images)
        entropy = share_of_mean(relative_entropy_of_logits(outputs[0]), self.passes.total)
        losses["entropy"] = self.ramp(moment) * self.settings.entropy_weight * entropy
        return Terms(losses | self.face_value(imperfect, outputs))
