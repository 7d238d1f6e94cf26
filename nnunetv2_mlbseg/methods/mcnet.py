"""Mutual consistency (MC-Net): two decoders on one encoder, each follows the other's sharpened prediction.

L = sup_A + w_B sup_B + w r sum over i != j of <(p_i - S(p_j))^2> on all images, S the sharpening with T = 0.1, r the
ramp. Decoder B enlarges feature maps by linear interpolation in the place of transposed convolutions; prediction is by
decoder A, the network's own. Weights are those of the authors' code: 0.1 in 2D beside a sup of Dice; in 3D 1 beside
half of that, hence 2 here. Their targets carry gradient, and their sharpening takes each class by itself, which is
right for two classes only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nnunetv2_mlbseg.maths.sharpening import sharpened
from nnunetv2_mlbseg.maths.tensors import share_of_mean
from nnunetv2_mlbseg.methods.comparison import SemiSupervised, SemiSupervisedSettings
from nnunetv2_mlbseg.networks.second_decoder import SecondDecoder
from nnunetv2_mlbseg.networks.second_network import initialised_anew
from nnunetv2_mlbseg.settings.rules import flag, number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms
from nnunetv2_mlbseg.training.task import Task

AUTHORS = "the authors' code"


class MCNetSettings(SemiSupervisedSettings):
    """The keys of MC-Net."""

    second_supervised_weight: float = number(1.0, least=0, unit="factor", source=AUTHORS)
    """Factor of the second decoder's loss on the clean batch."""
    mutual_weight: float = number(0.1, least=0, unit="factor", source=AUTHORS + ", 2D; their 3D weight would be 2 here")
    """Factor of the squared distance from the other decoder's sharpened prediction, mean over the classes."""
    temperature: float = number(0.1, least=0, most=1, open_ends=True, source=AUTHORS)
    """Of the sharpening. Small: nearly one-hot."""
    targets_learn: bool = flag(False, source="true in " + AUTHORS)
    """Gradient flows into the sharpened prediction as well."""


class MCNet(SemiSupervised):
    """Agreement of two decoders."""

    Settings: ClassVar = MCNetSettings
    settings: MCNetSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **SemiSupervised.quantities,
        "supervised_2": "clean batch, second decoder",
        "mutual": "decoders agree",
    }
    card: ClassVar[Card] = Card(
        idea="two decoders follow each other's sharpened prediction",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=3,
        citation="Wu et al., MICCAI 2021",
    )

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """The second decoder."""
        return nn.ModuleDict({"decoder": SecondDecoder(initialised_anew(task.built()))})

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """Both decoders on the clean batch, and their agreement on both batches."""
        pairs = self.both(clean.images), self.both(imperfect.images)
        weight = self.settings.second_supervised_weight
        losses = {
            "supervised": self.supervised(clean, pairs[0][0]),
            "supervised_2": weight * self.supervised(clean, pairs[0][1]),
        }
        apart = sum((self.disagreement(*pair) for pair in pairs), start=pairs[0][0][0].new_zeros(())) / 2
        losses["mutual"] = self.ramp(moment) * self.settings.mutual_weight * apart
        return Terms(losses | self.face_value(imperfect, pairs[1][0]))

    def both(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The logits of both decoders at all scales."""
        outputs, features = self.passes.features(images)
        return outputs, self.passes.through(self.heads["decoder"], features.skips)

    def disagreement(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """How far the finest outputs lie from each other's sharpened ones: this process's share of the mean."""
        return self._from(first[0], second[0]) + self._from(second[0], first[0])

    def _from(self, logits: Tensor, other: Tensor) -> Tensor:
        target = sharpened(other if self.settings.targets_learn else other.detach(), self.settings.temperature)
        return share_of_mean((logits.softmax(dim=1) - target).square(), self.passes.total)
