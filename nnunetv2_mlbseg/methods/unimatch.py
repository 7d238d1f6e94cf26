"""UniMatch, and FixMatch as its form with one view: sure predictions of an image label strong views of it.

The image as it was augmented is the weak view; a strong view has other intensities, and a CutMix box of another image
of the batch, which brings its label and its certainty along. L = sup + w_s mean of s_k over the strong views + w_f s_f,
each s the Dice over pixels whose label has a probability of 0.95 or more; s_f is of the weak view with half of the
encoder's channels dropped. Weights are those of the authors' code for scans, doubled, because nnU-Net's sup is twice
theirs. The box is from the same batch, whose predictions there are already; theirs is from another one, predicted in
evaluation mode.

The weights rise over the training (`ramp_up`), which those of the authors' code do not. With their weights from the
start sure pixels were background alone, and with three clean scans FixMatch never found the prostate. With a factor of
2, the sum of UniMatch's two, it found the prostate and lost it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.shared.draws import uniform
from nnunetv2_mlbseg.methods.shared.scales import dice_where
from nnunetv2_mlbseg.methods.shared.strong_views import StrongViews, SureLabels
from nnunetv2_mlbseg.networks.dropout import drop_channels
from nnunetv2_mlbseg.networks.surgery import plain_network
from nnunetv2_mlbseg.settings.rules import interval, number, whole
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms

AUTHORS = "the authors' code"
DOUBLED = AUTHORS + ", doubled beside nnU-Net's supervised loss"


class UniMatchSettings(SemiSupervisedSettings):
    """The keys of UniMatch."""

    strong_weight: float = number(1.0, least=0, unit="factor", source=DOUBLED + " (two views with 0.25 each)")
    """Factor of the mean loss of the strong views."""
    feature_weight: float = number(1.0, least=0, unit="factor", source=DOUBLED + " (0.5)")
    """Factor of the loss of the view with dropped channels. 0: there is no such view."""
    strong_views: int = whole(2, least=1, unit="views", source=AUTHORS)
    """Strong views of every imperfect image."""
    certainty: float = number(0.95, least=0, most=2, unit="probability", source=AUTHORS)
    """Least probability of a label that counts. Above 1: none does."""
    box_chance: float = number(0.5, least=0, most=1, unit="probability", source=AUTHORS)
    """Chance of a strong view to have a box of another image."""
    box_area: tuple[float, float] = interval((0.02, 0.4), least=0, most=1, source=AUTHORS)
    """Area or volume of the box, as a share of the patch's."""


class UniMatch(SemiSupervised):
    """Sure labels for strong views."""

    Settings: ClassVar = UniMatchSettings
    settings: UniMatchSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **SemiSupervised.quantities,
        "strong": "strong views",
        "features": "dropped channels",
    }
    card: ClassVar[Card] = Card(
        idea="sure predictions label strong views of unlabeled images",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=4.5,
        citation="Yang et al., CVPR 2023",
    )

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch; strong views and dropped channels with the labels of the weak view."""
        settings, ramp = self.settings, self.ramp(moment)
        losses = {"supervised": self.supervised(clean)}
        weak, dropped = self.weak(imperfect.images)
        sure = SureLabels.of(weak[0], settings.certainty)
        if dropped is not None:
            apart = dice_where(self.passes, dropped, sure.labels, sure.counted)
            losses["features"] = ramp * settings.feature_weight * apart
        views = StrongViews(self.passes, settings.strong_views, settings.box_chance, settings.box_area)
        losses["strong"] = ramp * settings.strong_weight * views.loss(imperfect.images, sure)
        return Terms(losses | self.face_value(imperfect, weak))

    def weak(self, images: Tensor) -> tuple[list[Tensor], list[Tensor] | None]:
        """Logits of images as they are, and with half of the encoder's channels dropped; those have their graph."""
        if self.settings.feature_weight == 0:
            with torch.set_grad_enabled(self.settings.noisy_labels == "face"):
                return self.passes.student(images), None
        outputs, features = self.passes.features(images)
        draw = partial(uniform, self.passes, purpose="channels")
        skips = [drop_channels(skip, 0.5, draw) for skip in features.skips]
        decoder: Any = plain_network(self.passes.student_network).decoder
        return outputs, self.passes.through(decoder, skips)
