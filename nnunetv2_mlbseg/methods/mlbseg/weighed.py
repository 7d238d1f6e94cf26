"""What is known of a batch before anything is learned from it, and what of that the training pass needs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nnunetv2_mlbseg.maths.labels import Mixture, WeightedLabels
from nnunetv2_mlbseg.maths.views import Views
from nnunetv2_mlbseg.methods.mlbseg.memory import Memory
from nnunetv2_mlbseg.training.descent import Gradient


@dataclass(frozen=True)
class Lesson:
    """What the training pass needs of a weighed batch; see there. ``mixtures``: one entry per scale."""

    views: Views
    shown: Tensor
    outputs: list[Tensor] | None
    known: list[Tensor]
    teacher: Tensor | None
    mixtures: list[Mixture]
    generated: Tensor


@dataclass(frozen=True)
class WeighedBatch:
    """What a step knows of its batch before it learns from it; of regions B stands for B*G (see `maths/label_space`).

    Attributes:
        shown: Imperfect images in all views, ``(V*B, channels, *S)``.
        outputs: The student's at all scales with their graph, where the weights needed no pass without one.
        known: The student's logits of the first images at all scales, without a graph.
        teacher: The teacher's probabilities ``(V*B, C, *S)``, where anything needs them.
        labels: All labels of every pixel and their weights, one entry per scale.
        generated: ``(V*B,)`` bool, whose imperfect label a network made.
        memory: With this batch in it.
        clean_loss, clean_gradient: Of the clean batch; the gradient times the gradient scaler's factor if there is one.
        derivatives: `class_derivatives` of the finest logits along the clean gradient, where the weights need them: of
            all, or of the ``B`` images as they are.
    """

    views: Views
    shown: Tensor
    outputs: list[Tensor] | None
    known: list[Tensor]
    teacher: Tensor | None
    labels: list[WeightedLabels]
    generated: Tensor
    memory: Memory
    clean_loss: Tensor
    clean_gradient: Gradient
    derivatives: Tensor | None = None

    def lesson(self) -> Lesson:
        """What the training pass needs of it, which is much less."""
        mixtures = [labels.mixture() for labels in self.labels]
        return Lesson(self.views, self.shown, self.outputs, self.known, self.teacher, mixtures, self.generated)
