"""What DTC and SASSNet share: a head beside the network that regresses signed distance maps."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nnunetv2_mlbseg.maths.labels import as_labels
from nnunetv2_mlbseg.maths.masked_mean import mean_where
from nnunetv2_mlbseg.maths.signed_distance import signed_distance, signed_distance_loss
from nnunetv2_mlbseg.methods.comparison import SemiSupervised
from nnunetv2_mlbseg.networks.pixel_head import pixel_head
from nnunetv2_mlbseg.training.batch import Target
from nnunetv2_mlbseg.training.task import Task


class WithDistances(SemiSupervised):
    """Methods with a map from -1 inside to 1 outside for every foreground class.

    True maps are computed from the augmented labels on the device, so that nothing waits for them and no loader has to
    carry them.
    """

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """A convolution of one pixel on the decoder's last features."""
        return nn.ModuleDict({"distances": pixel_head(task.built(), task.classes - 1)})

    def seen(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The student's logits at all scales, and the maps of the head, ``(B, C - 1, *S)``."""
        outputs, features = self.passes.features(images)
        return outputs, self.heads["distances"](features.last).tanh()

    def regression(self, distances: Tensor, target: Target) -> Tensor:
        """Mean squared distance from the maps of the labels, over classes and labelled pixels; this process's share."""
        labels = as_labels(target, self.task.ignore_label)
        apart = signed_distance_loss(distances, labels, signed_distance(labels, self.task.classes))
        return mean_where(labels >= 0, apart, self.passes.total)
