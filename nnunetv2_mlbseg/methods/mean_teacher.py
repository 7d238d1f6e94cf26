"""Mean teacher: student and teacher should agree on images without a label.

L = sup + w r <sum_c (p_c - q_c)^2> / C on the imperfect images, r the ramp, q the teacher's probabilities for the image
with noise clamp(0.1 N(0, 1), -0.2, 0.2). Weight and noise are those of SSL4MIS, the weight doubled, because nnU-Net's
sup is twice theirs. Their first 1,000 of 30,000 iterations, without agreement, are left to the ramp, which is 0.007
then. Instance normalisation undoes a change of brightness, so noise is the only perturbation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from nnunetv2_mlbseg.maths.consistency import teacher_consistency
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.shared.draws import disturbed
from nnunetv2_mlbseg.networks.surgery import Within
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms


class MeanTeacherSettings(SemiSupervisedSettings):
    """The keys of the mean teacher."""

    agreement_weight: float = number(
        0.2, least=0, unit="factor", source="SSL4MIS (0.1 beside a supervised loss of half the size)"
    )
    """Factor of the squared distance between student and teacher, mean over the classes."""
    teacher_noise: float = number(
        0.1, least=0, unit="standard deviations of the normalised image", source="SSL4MIS; cut off at twice that"
    )
    """Noise on the teacher's input."""


class MeanTeacher(SemiSupervised):
    """Agreement of student and teacher on imperfect images."""

    Settings: ClassVar = MeanTeacherSettings
    settings: MeanTeacherSettings
    quantities: ClassVar[Mapping[str, str]] = {**SemiSupervised.quantities, "agreement": "distance from the teacher"}
    card: ClassVar[Card] = Card(
        idea="student and teacher agree on images without a label",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=7 / 3,
        citation="Perone and Cohen-Adad, DLMIA 2018",
    )

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch, and the distance from the teacher on the imperfect one."""
        losses = {"supervised": self.supervised(clean)}
        outputs = self.passes.student(imperfect.images, within=self.within())
        apart = self.distance(outputs[0].softmax(dim=1), imperfect.images, moment)
        losses["agreement"] = self.ramp(moment) * self.settings.agreement_weight * apart
        return Terms(losses | self.face_value(imperfect, outputs))

    def distance(self, probabilities: Tensor, images: Tensor, moment: Moment) -> Tensor:
        """Mean squared distance from the teacher, over classes, pixels and images: this process's share."""
        teacher = self.teacher(images)
        return teacher_consistency(probabilities, teacher, self.passes.total) / self.task.classes

    def teacher(self, images: Tensor, purpose: str = "noise") -> Tensor:
        """Its probabilities for disturbed images, ``(B, C, *S)``.

        Args:
            purpose: Of the generator that draws the disturbance.
        """
        shown = disturbed(self.passes, images, self.settings.teacher_noise, purpose)
        return self.passes.teacher(shown, within=self.within())

    def within(self) -> Within | None:
        """What is done to both networks while they see imperfect images."""
        return None
