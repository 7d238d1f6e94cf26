"""Early-learning regularisation: noisy labels are learned as they are, but not against what was believed before.

L = sup + w CE(n) + l <log(1 - sum_c t_c p_c)> on noisy images with labels n. Of images, the authors remember a moving
average of predictions. A patch is augmented anew each time it is drawn, so here t is what the mean teacher, a moving
average of weights, says of the very patch (their ELR+ averages weights, too). The regulariser undoes cross-entropy
alone, so noisy labels have no Dice. Both terms are taken at all scales: what is undone at one is not undone at another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.early_learning import early_learning
from nnunetv2_mlbseg.maths.tensors import share_of_mean
from nnunetv2_mlbseg.methods.comparison import OF_CLEAN, Comparison, SteadySettings
from nnunetv2_mlbseg.methods.noisy_labels import noisy_target
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.training.batch import Images, ImperfectImages
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Terms


class ELRSettings(SteadySettings):
    """The keys of early-learning regularisation."""

    noisy_weight: float = number(1.0, least=0, unit="factor", source="Liu et al. 2020")
    """Factor of the cross-entropy of noisy labels."""
    early_learning_weight: float = number(
        0.3, least=0, unit="factor", source="Liu et al. 2020 have 1 to 7, for classes that are equally frequent"
    )
    """Factor of the regulariser. With 3 a small structure was lost: all background agrees, and pulls the more.

    0, with a `noisy_weight`: noisy labels are taken at face value.
    """


class ELR(Comparison):
    """Cross-entropy of noisy labels, held back where the teacher is sure of something else."""

    Settings: ClassVar = ELRSettings
    settings: ELRSettings
    quantities: ClassVar[Mapping[str, str]] = {
        **OF_CLEAN,
        "noisy": "noisy labels (cross-entropy)",
        "early": "early-learning regulariser",
    }
    card: ClassVar[Card] = Card(
        idea="noisy labels are not learned against what was believed before",
        labels=("clean", "noisy"),
        images=("clean", "noisy"),
        cost=7 / 3,
        citation="Liu et al., NeurIPS 2020",
    )

    def terms_of_pair(self, clean: Images, imperfect: ImperfectImages, moment: Moment) -> Terms:
        """The clean batch; cross-entropy and regulariser of the noisy one."""
        settings, passes = self.settings, self.passes
        losses = {"supervised": self.supervised(clean)}
        outputs, targets = passes.student(imperfect.images), passes.teacher(imperfect.images)
        target = noisy_target(imperfect, self.task.ignore_label)
        cross_entropy = passes.supervised(outputs, target, "ce", of_clean=False)
        losses["noisy"] = settings.noisy_weight * cross_entropy / passes.processes.count
        losses["early"] = settings.early_learning_weight * self.held_back(outputs, targets)
        return Terms(losses)

    def held_back(self, outputs: list[Tensor], targets: Tensor) -> Tensor:
        """The regulariser, mean over pixels and images, summed over the scales: this process's share.

        Targets are looked at where deep supervision looks at labels.
        """
        parts = []
        for output, factor in zip(outputs, self.passes.scale_factors, strict=True):
            seen = F.interpolate(targets, output.shape[2:], mode="nearest-exact")
            of_pixels = early_learning(output.softmax(dim=1), seen)
            parts.append(factor * share_of_mean(of_pixels, self.passes.total))
        return torch.stack(parts).sum()
