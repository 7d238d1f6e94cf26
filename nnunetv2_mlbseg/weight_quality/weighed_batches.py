"""Training batches as the method weighs them, with their true labels. All that is known of the method stands here.

Views, strategy and normalisation are those of the training. The true labels go through nnU-Net's augmentation and
through the views beside the imperfect ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from nnunetv2_mlbseg.maths.labels import WeightedLabels
from nnunetv2_mlbseg.maths.views import Views
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.method import Moment
from nnunetv2_mlbseg.training.restored import TrainedFold
from nnunetv2_mlbseg.weight_quality.loader_with_truth import loader_with_truth


@dataclass(frozen=True)
class Weighed:
    """The imperfect images of a batch at full resolution, B images in V views.

    Of regions, logits and labels are those of every (image, region): B*G where it says B.

    Attributes:
        images: ``(V*B, channels, *S)``.
        logits: The student's, ``(V*B, C, *S)``.
        labels: Both labels with their weights, ``(V*B, *S)``.
    """

    views: Views
    images: Tensor
    logits: Tensor
    labels: WeightedLabels


def weighed_batches(
    fold: TrainedFold, role: str, iterations: int, seed: int, report: Callable[[str], None] = print
) -> Iterator[tuple[Weighed, Tensor]]:
    """So many batches of a role with the true labels ``(B, *S)`` of their images, always the same for a seed.

    What the method remembers of earlier batches goes on as in the training; the networks do not.
    """
    random_state.seed_everything(seed)
    loader = loader_with_truth(fold, role, report)
    method = fold.method
    assert isinstance(method, MLBSeg), "a training without weights is refused before"
    method.passes.generators.seed_(seed)
    fold.student.train()
    least = method.least_of_generated(Moment(0, 0, 1))
    for _ in range(iterations):
        batch = next(loader)
        truth = method.passes.space.labels(batch["imperfect_target"], fold.labels.ignore_label, 1 + len(fold.further))
        weighed = method.weigh(Batch.of(batch, fold.device), method.memory, least)
        method.memory = method.memory.followed_by(weighed.memory)
        outputs = weighed.outputs or method.passes.student(weighed.shown)
        yield Weighed(weighed.views, weighed.shown, outputs[0].detach(), weighed.labels[0]), truth.to(fold.device)
