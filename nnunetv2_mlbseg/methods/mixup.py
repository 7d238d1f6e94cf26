"""Mix-up: train on blends of images.

x' = s x_i + (1 - s) x_j and the labels alike, s ~ Beta(1, 1) of every image, j from a random order of the batch.

With clean labels alone, L = sup + w l(x', y') on the clean batch. The weight 0.01 is that of the code from which the
paper of MLB-Seg seems to have its row; imperfect images take no part there. With noisy labels at face value, blends
over clean and noisy images take the place of sup. Cases without a label are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import as_labels
from nnunetv2_mlbseg.maths.mixing import blended, blended_labels
from nnunetv2_mlbseg.maths.mixture_loss import mixture_loss
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.methods.shared.draws import beta, uniform
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Batch, Images
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms


class MixUpSettings(SemiSupervisedSettings):
    """The keys of mix-up."""

    blend_weight: float = number(0.01, least=0, unit="factor", source="the code of Peng et al. 2021")
    """Factor of the loss of blends, beside the loss of the clean batch. It is 1 with `noisy_labels` face."""
    blend_alpha: float = number(1.0, least=0.01, most=100, source="Zhang et al. 2018 (0.1 to 1)")
    """The shares of a blend are from Beta(alpha, alpha): 1 draws them evenly, less seldom blends."""


class MixUp(SemiSupervised):
    """Blends of labelled images."""

    Settings: ClassVar = MixUpSettings
    settings: MixUpSettings
    needs_imperfect: ClassVar[bool] = False
    quantities: ClassVar[Mapping[str, str]] = {"supervised": "clean batch", "blends": "blended images"}
    card: ClassVar[Card] = Card(
        idea="blends of labelled images",
        labels=("clean",),
        images=("clean",),
        cost=2,
        citation="Zhang et al., ICLR 2018",
    )

    @classmethod
    def roles(cls, settings: Any) -> tuple[str, ...]:
        """Those whose labels are read."""
        return cls.labels_read(settings)

    @classmethod
    def noisy_teach_unshown(cls, settings: Any) -> bool:
        """No: every label of a blend counts as it is."""
        return False

    def terms(self, batch: Batch, moment: Moment) -> Terms:
        """The clean batch and blends of it; or blends of all images alone."""
        if self.settings.noisy_labels == "face":
            return Terms({"blends": self.blends(batch.clean, *filter(None, [batch.imperfect]))})
        blends = self.settings.blend_weight * self.blends(batch.clean)
        return Terms({"supervised": self.supervised(batch.clean), "blends": blends})

    def blends(self, *batches: Images) -> Tensor:
        """The loss of every image blended with another one, this process's share."""
        images = torch.cat([batch.images for batch in batches])
        labels = torch.cat([as_labels(batch.target, self.task.ignore_label) for batch in batches])
        share = beta(self.passes, len(images), self.settings.blend_alpha, "blends")
        other = uniform(self.passes, (len(images),), "partners").argsort()
        shown = blended(images, images[other], share)
        mixture = blended_labels(labels, labels[other], share)
        return mixture_loss(self.passes.student(shown), mixture, self.passes.scale_factors, self.passes.total)
