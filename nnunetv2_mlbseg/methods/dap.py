"""After Zheng et al. (MICCAI 2019), deep atlas prior: how often a class is at a place weighs the pixels of its loss.

A reconstruction from the paper's abstract; the authors published no code. L = sup + w_p <[(1 - q_y)^2 + (1 - A_y)^2]
(-log p_y)> on clean images + adversarial and self-taught terms, with a ramp. The atlas A is the mean of all clean
labels so far, in the frame of the patch as it was augmented: nothing has to be carried through the augmentation, and it
is what the network meets at a place of its input. q is the teacher's, in place of the prediction one epoch before.

The adversarial part is that of Hung et al. (BMVC 2018), whom the paper follows: a critic tells, pixel by pixel, label
maps of clean images from predictions; weights 0.01 on clean and 0.001 on imperfect images; and where it takes
predictions of imperfect images for labels with a probability above 0.2, their argmax is learned, with weight 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.labels import as_labels
from nnunetv2_mlbseg.maths.losses import pixel_cross_entropy
from nnunetv2_mlbseg.maths.masked_mean import mean_where
from nnunetv2_mlbseg.maths.prior_loss import prior_loss
from nnunetv2_mlbseg.maths.pseudo_labels import pseudo_labels
from nnunetv2_mlbseg.maths.soft_targets import one_hot
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.opponent import Shown, WithOpponent
from nnunetv2_mlbseg.networks.discriminator import Critic
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.task import Task

HUNG = "Hung et al., BMVC 2018"


class DAPSettings(SemiSupervisedSettings):
    """The keys of the deep atlas prior."""

    prior_weight: float = number(1.0, least=0, unit="factor", source="none; the paper has it in place of cross-entropy")
    """Factor of the cross-entropy that counts by likelihood and prior, on clean images."""
    adversarial_weight: float = number(0.01, least=0, unit="factor", source=HUNG)
    """Factor of the critic's judgement of clean images."""
    adversarial_imperfect_weight: float = number(0.001, least=0, unit="factor", source=HUNG)
    """Factor of the critic's judgement of imperfect images."""
    self_weight: float = number(0.1, least=0, unit="factor", source=HUNG)
    """Factor of the cross-entropy with the network's own labels of imperfect images."""
    believed: float = number(0.2, least=0, most=1, unit="probability", source=HUNG)
    """From which probability on the critic has to take a pixel's prediction for a label, for it to be learned."""


class DAP(WithOpponent):
    """A loss with a prior, and a critic that decides which own labels are learned."""

    Settings: ClassVar = DAPSettings
    settings: DAPSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **SemiSupervised.quantities,
        "prior": "likelihood and prior",
        "adversarial": "critic is not fooled",
        "self": "own labels that the critic believes",
    }
    card: ClassVar[Card] = Card(
        idea="places where a class is unlikely count more",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=2.6,
        citation="Zheng et al., MICCAI 2019",
        reconstruction=True,
    )

    def __init__(self, settings: DAPSettings, task: Task, passes: Passes, heads: nn.ModuleDict):
        super().__init__(settings, task, passes, heads)
        self.atlas_sums: Tensor | None = None

    @classmethod
    def noisy_teach_unshown(cls, settings: Any) -> bool:
        """No: the loss with the atlas counts every class of the clean labels."""
        return False

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """The critic."""
        return nn.ModuleDict({"critic": Critic(task.classes, task.channels, task.dims, everywhere=True)})

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch, with and without weights; the critic; own labels of the imperfect batch."""
        outputs, others = self.passes.student(clean.images), self.passes.student(imperfect.images)
        maps, of_others = outputs[0].softmax(dim=1), others[0].softmax(dim=1)
        settings, ramp = self.settings, self.ramp(moment)
        losses = {"supervised": self.supervised(clean, outputs)}
        losses["prior"] = settings.prior_weight * self.with_prior(clean, outputs[0], maps)
        of_clean = settings.adversarial_weight * self.opponent.taken_for_labelled(maps, clean.images)
        of_imperfect = self.opponent.taken_for_labelled(of_others, imperfect.images)
        losses["adversarial"] = ramp * (of_clean + settings.adversarial_imperfect_weight * of_imperfect)
        losses["self"] = ramp * settings.self_weight * self.of_own_labels(others[0], of_others, imperfect.images)
        return Terms(losses | self.face_value(imperfect, others))

    def with_prior(self, clean: Images, logits: Tensor, maps: Tensor) -> Tensor:
        """The loss of clean images with likelihood and prior; the critic is shown their labels and predictions."""
        labels = as_labels(clean.target, self.task.ignore_label)
        true = one_hot(labels, self.task.classes)
        real = torch.where(true.counted.unsqueeze(1), true.probabilities, maps)
        self.opponent.show(Shown.of(real, clean.images), Shown.of(maps, clean.images))
        atlas = self.atlas(true.probabilities, labels)
        return mean_where(labels >= 0, prior_loss(logits, labels, self.passes.teacher(clean.images), atlas))

    def atlas(self, true: Tensor, labels: Tensor) -> Tensor:
        """How often each class was at each place of a patch so far, these labels included, ``(B, C, *S)``."""
        seen = (true * (labels >= 0).unsqueeze(1)).sum(dim=0)
        self.atlas_sums = seen if self.atlas_sums is None else self.atlas_sums + seen
        shares = self.atlas_sums / self.atlas_sums.sum(dim=0).clamp_min(1)
        return shares.expand(len(true), *shares.shape)

    def of_own_labels(self, logits: Tensor, maps: Tensor, images: Tensor) -> Tensor:
        """Mean cross-entropy with the argmax where the critic believes it."""
        believed = self.opponent.chance_of_labelled(maps.detach(), images) > self.settings.believed
        return mean_where(believed, pixel_cross_entropy(logits, pseudo_labels(logits)))

    def state(self) -> dict[str, Any]:
        """The critic's optimiser, and the atlas."""
        atlas = {} if self.atlas_sums is None else {"atlas_sums": self.atlas_sums.clone()}
        return {**super().state(), **atlas}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`."""
        super().load_state(state)
        found = state.get("atlas_sums")
        self.atlas_sums = None if found is None else found.to(self.passes.device)
