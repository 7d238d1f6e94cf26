"""Contrast before labels: encoder and decoder learn from images alone, then nnU-Net trains on the clean cases.

The epochs of the warm-up are the pretraining, on the images of all cases. In its first half the encoder learns to put
slices near each other that are of the same part of their scans, and two views of a slice, and away from those of other
parts. In the second half the encoder is left as it is, and the decoder's third stage learns to tell regions of an image
from their neighbours, in spite of other intensities. The heads are of no use afterwards. Deviations: SGD with the
training's learning rate (theirs: Adam); every part has the same length; views are mirrored and have other intensities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.contrast import contrast, pair_losses, same
from nnunetv2_mlbseg.maths.local_contrast import local_contrast
from nnunetv2_mlbseg.maths.pooling import means_of_regions, nearest_regions
from nnunetv2_mlbseg.maths.strong_view import strong_view
from nnunetv2_mlbseg.methods.comparison import OF_CLEAN, Comparison, SteadySettings
from nnunetv2_mlbseg.methods.image_vectors import Seen, pretraining, vector_head, vectors
from nnunetv2_mlbseg.methods.shared.draws import uniform
from nnunetv2_mlbseg.networks.frozen import frozen_encoder
from nnunetv2_mlbseg.networks.levels import convolution_like, widths
from nnunetv2_mlbseg.settings.rules import number, whole
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.card import Card
from nnunetv2_mlbseg.training.method import Moment, Task, Terms
from nnunetv2_mlbseg.training.stages import Stage, paired

STAGE = 3
"""The decoder's stage that learns, counted from the coarsest; the last one where there are fewer."""
REGION, REGIONS, NEIGHBOURS = 3, 13, 5
"""Size of a region in pixels of that stage; how many of an image are told apart; from how many neighbours each."""
AUTHORS = "Chaitanya et al. 2020"


class ContrastiveSettings(SteadySettings):
    """The keys of contrastive pretraining."""

    temperature: float = number(0.1, least=0, most=10, open_ends=True, source=AUTHORS)
    """What cosines are divided by. The lower it is, the more counts what is hardest to tell apart."""
    parts: int = whole(4, least=2, unit="parts", source=AUTHORS)
    """Parts of a scan along its slices; slices of the same part should look alike."""


class Contrastive(Comparison):
    """Pretraining by contrast, of all images and of regions, then plain training on the clean cases."""

    Settings: ClassVar = ContrastiveSettings
    settings: ContrastiveSettings
    needs_whole_batch: ClassVar[bool] = True
    quantities: ClassVar[Mapping[str, str]] = {**OF_CLEAN, "contrast": "contrast (pretraining)"}
    card: ClassVar[Card] = Card(
        idea="contrast of slices and regions before any label, then clean cases",
        labels=("clean",),
        images=("clean", "noisy", "unlabeled"),
        cost=1.2,
        citation="Chaitanya et al., NeurIPS 2020",
    )

    @classmethod
    def stages(cls, settings: Any, plan_batch_size: int, roles: FoldRoles) -> tuple[Stage, ...]:
        """Pretraining on all images, then nnU-Net's own training on the clean cases."""
        first = pretraining(settings, plan_batch_size, cls.roles(settings), cls.labels_read(settings))
        pairs = paired(settings, plan_batch_size, cls.imperfect(settings, plan_batch_size))
        clean = replace(pairs, imperfect=None, paced_by=None, by_method=False, quantity="supervised")
        return (first, clean)

    @classmethod
    def modules(cls, settings: Any, task: Task) -> nn.ModuleDict:
        """A head for vectors of images, one for vectors of regions."""
        network = task.built()
        levels = widths(network)[:-1][::-1]  # of the decoder's stages, coarsest first
        width = levels[min(STAGE, len(levels)) - 1]
        local = [convolution_like(network, width, width), nn.LeakyReLU(), convolution_like(network, width, width)]
        return nn.ModuleDict({"images": vector_head(task), "regions": nn.Sequential(*local)})

    def terms(self, batch: Batch, moment: Moment) -> Terms:
        """Of the encoder in the first half of the pretraining, of the decoder in the second."""
        seen = Seen.all_of(batch)
        return Terms({"contrast": self.of_images(seen) if moment.share < 0.5 else self.of_regions(seen.images)})

    def of_images(self, seen: Seen) -> Tensor:
        """Contrast of slices. Without a slice of another part there is nothing to tell an anchor from, and it is 0."""
        found, _ = vectors(self.passes, self.heads["images"], seen.images)
        marks = seen.marks(self.settings.parts)
        part, scan, image = (same(marks[name]) for name in ("part", "scan", "image"))
        losses = pair_losses(found, self.settings.temperature, against=~part & ~image)
        return contrast(losses, image | (part & ~scan))

    def of_regions(self, images: Tensor) -> Tensor:
        """Contrast of regions of the decoder's map between two views of other intensities."""
        draw = partial(uniform, self.passes, purpose="strong views")
        shown = torch.cat([strong_view(images, draw) for _ in range(2)])
        _, found = self.passes.features(shown, within=frozen_encoder)
        maps = found.decoded[min(STAGE, len(found.decoded)) - 1]
        local = means_of_regions(self.heads["regions"](maps), REGION)
        grid, device = tuple(local.shape[2:]), self.passes.device
        order = torch.randperm(math.prod(grid), generator=self.passes.generators.on_device("regions"), device=device)
        near = nearest_regions(grid, NEIGHBOURS, device)
        first, second = local.flatten(2).chunk(2)
        return local_contrast(first, second, order[:REGIONS], near, self.settings.temperature)
