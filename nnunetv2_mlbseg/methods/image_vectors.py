"""What contrastive methods share: a stage on all images, whose labels nobody reads, and a vector of every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.contrast import parts_of
from nnunetv2_mlbseg.maths.pooling import means_of_halves
from nnunetv2_mlbseg.maths.strong_view import strong_view
from nnunetv2_mlbseg.maths.views import draw_views
from nnunetv2_mlbseg.methods.shared.draws import uniform
from nnunetv2_mlbseg.networks.levels import widths
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training.batch import Batch, Images
from nnunetv2_mlbseg.training.method import Task
from nnunetv2_mlbseg.training.passes import Passes
from nnunetv2_mlbseg.training.stages import WARM_UP_FILE, Draw, Stage

WIDTH = 256
"""Of the inner layer of a head on whole images, and of its vectors."""


def pretraining(
    settings: TrainingSettings, plan_batch_size: int, roles: Sequence[str], labels_read: Sequence[str]
) -> Stage:
    """The epochs of the warm-up, on images of all roles in one loader."""
    blank = tuple(role for role in roles if role not in labels_read)
    images = settings.warmup_batch_size or plan_batch_size
    draw = Draw(tuple(roles), images, "warmup_batch_size", blank=blank)
    return Stage("pretraining", settings.warmup_epochs, draw, by_method=True, keeps=WARM_UP_FILE)


def vector_head(task: Task) -> nn.Module:
    """Two layers on the pooled bottleneck, ``(B, features)`` to ``(B, 256)``."""
    pooled = widths(task.built())[-1] * 2**task.dims
    return nn.Sequential(nn.Linear(pooled, WIDTH), nn.LeakyReLU(), nn.Linear(WIDTH, WIDTH))


@dataclass(frozen=True)
class Seen:
    """Images with where they are from.

    Attributes:
        images: ``(B, channels, *S)``.
        position: ``(B,)``, along the scan, 0 to 1; NaN where loaders do not say.
        scan: ``(B,)`` int64.
    """

    images: Tensor
    position: Tensor
    scan: Tensor

    @classmethod
    def of(cls, images: Images) -> Seen:
        """Where loaders say nothing, every image is of a scan of its own."""
        shown, count = images.images, len(images.images)
        nowhere = torch.full((count,), torch.nan, device=shown.device)
        alone = torch.arange(count, device=shown.device)
        position = nowhere if images.position is None else images.position
        return cls(shown, position, alone if images.scan is None else images.scan)

    @classmethod
    def all_of(cls, batch: Batch) -> Seen:
        """Both kinds of images."""
        kinds = [cls.of(kind) for kind in (batch.clean, batch.imperfect) if kind is not None]
        parts = zip(*((kind.images, kind.position, kind.scan) for kind in kinds), strict=True)
        return cls(*(torch.cat(part) for part in parts))

    def marks(self, parts: int) -> dict[str, Tensor]:
        """What two views of all images can have in common, ``(2 * B,)`` int64 each: part of a scan, scan, image."""
        image = torch.arange(len(self.images), device=self.images.device)
        found = {"part": parts_of(self.position, parts), "scan": self.scan, "image": image}
        return {name: mark.repeat(2) for name, mark in found.items()}


def vectors(passes: Passes, head: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Vectors ``(2 * B, 256)`` of two views of every image, and the student's logits of them, finest first.

    One view has other intensities, the other one is mirrored as well.
    """
    mirrored = draw_views(
        ("flip",), len(images), images.ndim - 2, passes.generators.on_host("views"), device=passes.device
    )
    shown = strong_view(mirrored.apply(images), partial(uniform, passes, purpose="strong views"))
    outputs, found = passes.features(shown)
    made: Tensor = head(means_of_halves(found.skips[-1]).flatten(1))
    return made, outputs
