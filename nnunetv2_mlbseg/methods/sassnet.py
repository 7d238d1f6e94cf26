"""Shape-aware segmentation (SASSNet): a head regresses signed distance maps, and a critic compares their shapes.

L = sup + w_d <(z - SDM(y))^2> on clean images + w_a r CE(E(u, z_u), "labelled") on imperfect ones, z the head's maps, r
the ramp. The critic E learns after each step from the maps of both batches. Weights are those of the authors' code,
whose sup is Dice alone (cross-entropy is computed there and not added).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.distance_head import WithDistances
from nnunetv2_mlbseg.methods.opponent import Shown, WithOpponent
from nnunetv2_mlbseg.networks.discriminator import Critic
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms
from nnunetv2_mlbseg.training.task import Task


class SASSNetSettings(SemiSupervisedSettings):
    """The keys of SASSNet."""

    distance_weight: float = number(0.3, least=0, unit="factor", source="the authors' code")
    """Factor of the squared distance between predicted and true distance maps of clean images."""
    adversarial_weight: float = number(0.01, least=0, unit="factor", source="the authors' code")
    """Factor of the critic's judgement of the distance maps of imperfect images."""


class SASSNet(WithDistances, WithOpponent):
    """Shapes on imperfect images that a critic takes for those on clean ones."""

    Settings: ClassVar = SASSNetSettings
    settings: SASSNetSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **SemiSupervised.quantities,
        "distance": "distance maps of clean images",
        "adversarial": "critic is not fooled",
    }
    card: ClassVar[Card] = Card(
        idea="a critic cannot tell shapes on unlabeled images",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=2.2,
        citation="Li et al., MICCAI 2020",
    )

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """The head and the critic."""
        found = super().modules(settings, task)
        found["critic"] = Critic(task.classes - 1, task.channels, task.dims)
        return found

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """Clean labels for both tasks, and the critic's judgement of the imperfect images' maps."""
        outputs, distances = self.seen(clean.images)
        others, of_others = self.seen(imperfect.images)
        self.opponent.show(Shown.of(distances, clean.images), Shown.of(of_others, imperfect.images))
        judged = self.opponent.taken_for_labelled(of_others, imperfect.images)
        losses = {
            "supervised": self.supervised(clean, outputs),
            "distance": self.settings.distance_weight * self.regression(distances, clean.target),
            "adversarial": self.ramp(moment) * self.settings.adversarial_weight * judged,
        }
        return Terms(losses | self.face_value(imperfect, others))
