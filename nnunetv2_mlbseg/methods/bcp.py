"""Bidirectional copy-paste (BCP): a box of a clean image is pasted into an imperfect one, and the other way round.

The teacher labels the imperfect images. L = L_c + w L_p, nnU-Net's loss over the pixels from clean images, with their
labels, and over those from imperfect ones, with the teacher's. A box has two thirds of each side. The training begins
with boxes of clean images in clean ones, where others have a warm-up. Weights, box and order are those of the authors'
code (whose pre-training takes 2,000 of 17,000 iterations in 3D); here every pair is used in both directions, with a box
of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.labels import as_labels
from nnunetv2_mlbseg.maths.largest_component import largest_components
from nnunetv2_mlbseg.maths.mixing_boxes import boxes_of_share
from nnunetv2_mlbseg.maths.pseudo_labels import pseudo_labels
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.pasting import Pasted, repeated, with_a_box_of_the_next
from nnunetv2_mlbseg.methods.shared.draws import uniform
from nnunetv2_mlbseg.settings.rules import flag, number
from nnunetv2_mlbseg.training.batch import Batch, Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms
from nnunetv2_mlbseg.training.stages import Stage, warm_up

AUTHORS = "the authors' code"


class BCPSettings(SemiSupervisedSettings):
    """The keys of BCP."""

    ramp_up: float = number(0.0, least=0, most=1, unit="share of the training", source=AUTHORS)
    """How long the method's terms rise to their weight. 0: they have it from the start."""
    pseudo_weight: float = number(0.5, least=0, unit="factor", source=AUTHORS)
    """Factor of the loss over pixels from imperfect images."""
    box_share: float = number(2 / 3, least=0, most=1, unit="share of each side", source=AUTHORS)
    """Sides of the box. 0: nothing is pasted."""
    largest_component: bool = flag(False, source="true in " + AUTHORS)
    """Of the teacher's labels only the largest connected part of each class counts. A GPU waits for that."""


class BCP(SemiSupervised):
    """Images pasted into each other, with the labels of both."""

    Settings: ClassVar[type[SemiSupervisedSettings]] = BCPSettings
    settings: BCPSettings
    quantities: ClassVar[Mapping[str, str]] = {
        "supervised": "pixels of clean images",
        "noisy": "noisy labels at face value",
        "pseudo": "pixels of imperfect images",
    }
    card: ClassVar[Card] = Card(
        idea="boxes of clean and unlabeled images pasted into each other",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=7 / 3,
        citation="Bai et al., CVPR 2023",
    )

    @classmethod
    def noisy_teach_unshown(cls, settings: Any) -> bool:
        """No: every pixel of a pasted image counts as it is."""
        return False

    @classmethod
    def stages(cls, settings: Any, plan_batch_size: int, roles: FoldRoles) -> tuple[Stage, ...]:
        """Clean images in clean ones, then pairs."""
        first = replace(warm_up(settings, plan_batch_size), name="clean in clean", by_method=True)
        (pairs,) = super().stages(settings, plan_batch_size, roles)
        return first, replace(pairs, epochs=settings.epochs)

    def terms(self, batch: Batch, moment: Moment) -> Terms:
        """Of a clean batch alone in the first stage."""
        if batch.imperfect is None:
            return Terms(self.of_clean(batch.clean))
        return self.terms_of_pair(batch.clean, batch.imperfect, moment)

    def of_clean(self, clean: Images) -> dict[str, Tensor]:
        """The loss of clean images with boxes of clean ones in them."""
        labels = as_labels(clean.target, self.task.ignore_label)
        images, labels = with_a_box_of_the_next(self.boxes(labels), clean.images, labels)
        return {"supervised": self.labelled(self.passes.student(images), labels)}

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """Both kinds of pixels of the pasted images."""
        mixed = self.pasted(clean, imperfect)
        losses = self.of_pasted(self.passes.student(mixed.images), mixed, self.ramp(moment))
        if self.settings.noisy_labels == "face":
            losses |= self.face_value(imperfect, self.passes.student(imperfect.images))
        return Terms(losses)

    def pasted(self, clean: Images, imperfect: ImperfectImages) -> Pasted:
        """Pairs of both batches; the smaller one is used again until it is as large as the other."""
        labels = as_labels(clean.target, self.task.ignore_label)
        made = pseudo_labels(self.passes.teacher(imperfect.images))
        if self.settings.largest_component:
            made = largest_components(made, self.task.classes)
        count = max(len(labels), len(made))
        x, y, u, q = (repeated(values, count) for values in (clean.images, labels, imperfect.images, made))
        return Pasted.of(self.boxes(y), (x, y), (u, q))

    def of_pasted(self, outputs: list[Tensor], mixed: Pasted, ramp: float) -> dict[str, Tensor]:
        """The loss of both kinds of pixels."""
        weight = ramp * self.settings.pseudo_weight
        return {
            "supervised": self.labelled(outputs, mixed.clean),
            "pseudo": weight * self.labelled(outputs, mixed.pseudo),
        }

    def boxes(self, labels: Tensor) -> Tensor:
        """One for each label map ``(B, *S)``."""
        draw = partial(uniform, self.passes, purpose="boxes")
        return boxes_of_share(len(labels), labels.shape[1:], self.settings.box_share, draw)
