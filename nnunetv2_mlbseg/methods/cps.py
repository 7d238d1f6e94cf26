"""Cross pseudo supervision (CPS): two networks, initialised differently, label images for each other.

L = sum_k sup_k + w r [CE(p_1, argmax p_2) + CE(p_2, argmax p_1)] on the imperfect images, r the ramp. Both networks see
the same batches. The weight is that of SSL4MIS, doubled, because nnU-Net's sup is twice theirs. Prediction is by the
first one, the student.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from nnunetv2_mlbseg.maths.pseudo_labels import pseudo_labels
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.second_student import WithSecondStudent
from nnunetv2_mlbseg.methods.shared.scales import cross_entropy
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms


class CPSSettings(SemiSupervisedSettings):
    """The keys of CPS."""

    cross_weight: float = number(
        0.2, least=0, unit="factor", source="SSL4MIS (0.1 beside a supervised loss of half the size)"
    )
    """Factor of the cross-entropy with the other network's labels, for each network."""


class CPS(WithSecondStudent, SemiSupervised):
    """Two networks that label images for each other."""

    Settings: ClassVar = CPSSettings
    settings: CPSSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **SemiSupervised.quantities,
        "supervised_2": "clean batch, second network",
        "cross": "first network, labels of the second",
        "cross_2": "second network, labels of the first",
        "noisy_2": "noisy labels at face value, second network",
    }
    card: ClassVar[Card] = Card(
        idea="two networks label images for each other",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=4,
        citation="Chen et al., CVPR 2021",
    )

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch for both, and the imperfect one with each other's labels."""
        networks, through = self.networks(), self.passes.through
        supervised = [self.supervised(clean, through(network, clean.images)) for network in networks]
        outputs = [through(network, imperfect.images) for network in networks]
        labels = [pseudo_labels(of_one[0]) for of_one in outputs]
        weight = self.ramp(moment) * self.settings.cross_weight
        losses = {
            "supervised": supervised[0],
            "supervised_2": supervised[1],
            "cross": weight * cross_entropy(self.passes, outputs[0], labels[1]),
            "cross_2": weight * cross_entropy(self.passes, outputs[1], labels[0]),
        }
        losses |= {f"{name}_2": loss for name, loss in self.face_value(imperfect, outputs[1]).items()}
        return Terms(losses | self.face_value(imperfect, outputs[0]))
