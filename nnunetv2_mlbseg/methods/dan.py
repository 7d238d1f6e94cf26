"""Deep adversarial network (DAN): a critic tells segmentations of labelled images from others, and is to be fooled.

L = sup + w r CE(E(u, p_u), "labelled") on the imperfect images, r the ramp. After each step the critic E learns from
the same probabilities of both batches. Critic and weight are those of SSL4MIS, the weight doubled, because nnU-Net's
sup is twice theirs; the critic has no dropout when it judges, and there a forward pass of its own when it learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.opponent import Shown, WithOpponent
from nnunetv2_mlbseg.networks.discriminator import Critic
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms
from nnunetv2_mlbseg.training.task import Task


class DANSettings(SemiSupervisedSettings):
    """The keys of DAN."""

    adversarial_weight: float = number(
        0.2, least=0, unit="factor", source="SSL4MIS (0.1 beside a supervised loss of half the size)"
    )
    """Factor of the critic's judgement of imperfect images."""


class DAN(WithOpponent):
    """Segmentations of imperfect images that a critic takes for those of clean ones."""

    Settings: ClassVar = DANSettings
    settings: DANSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **SemiSupervised.quantities,
        "adversarial": "critic is not fooled",
    }
    card: ClassVar[Card] = Card(
        idea="a critic cannot tell segmentations of unlabeled images",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=2.2,
        citation="Zhang et al., MICCAI 2017",
    )

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """The critic."""
        return nn.ModuleDict({"critic": Critic(task.classes, task.channels, task.dims)})

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch, and the critic's judgement of the imperfect one."""
        outputs, others = self.passes.student(clean.images), self.passes.student(imperfect.images)
        probabilities = others[0].softmax(dim=1)
        labelled = Shown.of(outputs[0].softmax(dim=1), clean.images)
        self.opponent.show(labelled, Shown.of(probabilities, imperfect.images))
        judged = self.opponent.taken_for_labelled(probabilities, imperfect.images)
        losses = {"supervised": self.supervised(clean, outputs)}
        losses["adversarial"] = self.ramp(moment) * self.settings.adversarial_weight * judged
        return Terms(losses | self.face_value(imperfect, others))
