"""ADELE: noisy labels are corrected, class by class, once the network has stopped learning what they have in common.

L = sup + w L_n + v JSD on noisy images with labels n. All three are of the image and of two other scales of it: L_n is
nnU-Net's loss of each, JSD the mean divergence of the predictions from their mean, where that is sure of a class. The
agreement of predictions and noisy labels of a class follows a (1 - exp(-t^b / c)) over the epochs t. When its slope has
fallen by 0.9 of what it was at t = 1, the class may correct labels: every tenth epoch the network predicts whole noisy
scans, and where it is sure enough of such a class, and the label of the scan has it, that is the label from then on.
Every correction starts from the labels of the dataset. Labels of clean cases are never touched; unlabeled images have
the divergence alone. Deviations: a scale is a view in the frame of the image; sureness is asked of each pixel (theirs:
of the surest pixel of an image); a curve needs 8 epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.cases.label_correction import Correction
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.divergence import sure_divergence
from nnunetv2_mlbseg.maths.labels import as_labels
from nnunetv2_mlbseg.maths.replaced_labels import replaced_labels
from nnunetv2_mlbseg.maths.views import Views, draw_views
from nnunetv2_mlbseg.methods.comparison import OF_CLEAN, Comparison, SteadySettings
from nnunetv2_mlbseg.methods.learned_classes import LearnedClasses
from nnunetv2_mlbseg.methods.noisy_labels import noisy_target
from nnunetv2_mlbseg.settings.rules import number, whole
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Task, Terms
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.stages import Stage

SCALES: Mapping[str, Any] = {"zoom_in": (1.5, 1.5), "zoom_out": (0.7, 0.7)}
"""The scales beside the image itself, as in the authors' code."""
SURE = 0.8
"""Of how much the mean has to be sure where scales should agree."""
AUTHORS = "Liu et al. 2022, and their code"


class ADELESettings(SteadySettings):
    """The keys of ADELE."""

    noisy_weight: float = number(1.0, least=0, unit="factor", source=AUTHORS)
    """Factor of nnU-Net's loss of noisy labels, mean over three scales."""
    scales_weight: float = number(1.0, least=0, unit="factor", source=AUTHORS)
    """Factor of the divergence between the scales."""
    correct_every: int = whole(10, least=1, unit="epochs", source=AUTHORS + " (SegTHOR)")
    """Epochs between two corrections."""
    slope_change: float = number(0.9, least=0, most=1, source=AUTHORS)
    """Share of its first slope that the learning curve of a class has to lose before the class may correct labels."""
    certainty: float = number(0.7, least=0, source=AUTHORS + " (SegTHOR)")
    """Probability that a foreground class has to exceed where it corrects a label. Above 1: none ever does."""
    background_certainty: float = number(0.95, least=0, source=AUTHORS)
    """The same of the background."""


class ADELE(Comparison):
    """Noisy labels at three scales, corrected by the network between epochs once it has learned a class."""

    Settings: ClassVar = ADELESettings
    settings: ADELESettings
    quantities: ClassVar[Mapping[str, str]] = {
        **OF_CLEAN,
        "noisy": "noisy labels, as corrected",
        "scales": "divergence between scales",
    }
    card: ClassVar[Card] = Card(
        idea="noisy labels are corrected once their class has been learned",
        labels=("clean", "noisy"),
        images=("clean", "noisy", "unlabeled"),
        cost=4,
        citation="Liu et al., CVPR 2022",
    )

    def __init__(self, settings: ADELESettings, task: Task, passes: Passes, heads: nn.ModuleDict):
        super().__init__(settings, task, passes, heads)
        self.learned = LearnedClasses.none_yet(task.classes, passes.device)

    @classmethod
    def stages(cls, settings: Any, plan_batch_size: int, roles: FoldRoles) -> tuple[Stage, ...]:
        """One stretch between corrections after the other."""
        (whole_training,) = super().stages(settings, plan_batch_size, roles)
        starts = range(0, whole_training.epochs, settings.correct_every)
        lengths = [min(settings.correct_every, whole_training.epochs - start) for start in starts]
        return tuple(replace(whole_training, epochs=epochs, corrects=n) for n, epochs in enumerate(lengths))

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch; noisy labels at all scales, and the divergence between them."""
        settings, views = self.settings, self.drawn(imperfect.images)
        losses = {"supervised": self.supervised(clean)}
        labels = as_labels(noisy_target(imperfect, self.task.ignore_label), self.task.ignore_label)
        outputs = self.passes.student(views.apply(imperfect.images))
        losses["noisy"] = settings.noisy_weight * self.labelled(outputs, views.apply_labels(labels))
        probabilities = outputs[0].softmax(dim=1)
        aligned, covered = views.invert(probabilities), views.covered(probabilities.shape[2:])
        losses["scales"] = settings.scales_weight * sure_divergence(aligned, covered, SURE, self.passes.total)
        found = probabilities.detach()[: len(labels)].argmax(dim=1)
        self.learned = self.learned.with_step(found, labels, self.passes.total, first=moment.now == moment.began)
        return Terms(losses)

    def drawn(self, images: Tensor) -> Views:
        """Every image, and enlarged and reduced."""
        generator = self.passes.generators.on_host("views")
        return draw_views(tuple(SCALES), len(images), self.task.dims, generator, device=self.passes.device, **SCALES)

    def correction(self) -> Correction | None:
        """By the classes that have been learned so far, if there are any."""
        settings = self.settings
        classes = self.learned.classes(settings.correct_every, settings.slope_change)
        if not classes:
            return None
        certainty = torch.full((self.task.classes,), settings.certainty)
        certainty[0] = settings.background_certainty
        replacing = torch.zeros(self.task.classes, dtype=torch.bool)
        replacing[list(classes)] = True
        named = ", ".join(map(str, classes))
        return Correction(f"classes {named}", partial(_corrected, certainty=certainty, replacing=replacing))

    def state(self) -> dict[str, Any]:
        """Agreement with the labels so far."""
        return self.learned.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`."""
        self.learned = LearnedClasses.from_state(state, self.task.classes, self.passes.device)


def _corrected(logits: Tensor, labels: Tensor, certainty: Tensor, replacing: Tensor) -> Tensor:
    """Of a case, by logits ``(C, Z, Y, X)``."""
    return replaced_labels(logits.softmax(dim=0), labels, certainty, replacing)
