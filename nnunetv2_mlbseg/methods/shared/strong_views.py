"""Sure labels of strong views: what a network is sure of in an image, it is to find in a strong view of it (FixMatch).

A strong view has other intensities, and by chance a CutMix box of another image of the batch, which brings its labels
along. The loss is the Dice over the pixels whose label the network is sure of (Sohn et al. 2020; for scans as in the
code of Yang et al., CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.mixing_boxes import boxes_of_area, pasted
from nnunetv2_mlbseg.maths.strong_view import strong_view
from nnunetv2_mlbseg.methods.shared.draws import uniform
from nnunetv2_mlbseg.methods.shared.scales import dice_where
from nnunetv2_mlbseg.training.passes import Passes

LARGEST_RATIO = 3.3
"""Of two sides of a box (the authors' code)."""


@dataclass(frozen=True)
class SureLabels:
    """What a network calls each pixel, and whether that counts, ``(B*G, *S)`` each (see `maths/label_space`)."""

    labels: Tensor
    counted: Tensor

    @classmethod
    def of(cls, logits: Tensor, certainty: float) -> SureLabels:
        """Labels with a probability of ``certainty`` or more count; of logits ``(B*G, C, *S)``. No gradient flows."""
        probability, labels = logits.detach().softmax(dim=1).max(dim=1)
        return cls(labels, probability >= certainty)

    def groups(self, images: int) -> int:
        """G, where they are of so many images."""
        return len(self.labels) // images

    def of_images(self, counted: Tensor) -> SureLabels:
        """The same where those of some images alone count, ``(B,)`` bool."""
        of_labels = counted.repeat_interleave(self.groups(len(counted)))
        return SureLabels(self.labels, self.counted & of_labels.view(-1, *[1] * (self.labels.ndim - 1)))


@dataclass(frozen=True)
class StrongViews:
    """How strong views are made.

    Attributes:
        views: Of every image.
        box_chance: Of a strong view to have a box of another image.
        box_area: Area or volume of the box, as a share of the patch's.
    """

    passes: Passes
    views: int = 1
    box_chance: float = 0.5
    box_area: tuple[float, float] = (0.02, 0.4)

    def loss(
        self, images: Tensor, sure: SureLabels, seen: Callable[[Tensor], Tensor] = lambda logits: logits
    ) -> Tensor:
        """The mean loss of the views of some images ``(B, channels, *S)``; labels go with the pixels.

        Args:
            seen: From the student's logits to those that the labels are of.
        """
        shown = [self._shown(images, sure) for _ in range(self.views)]
        outputs = self.passes.student_in_parts(torch.cat([images for images, _ in shown]))
        parts = zip(*[seen(output).chunk(self.views) for output in outputs], strict=True)
        losses = [
            dice_where(self.passes, part, of_view.labels, of_view.counted, sure.groups(len(images)))
            for part, (_, of_view) in zip(parts, shown, strict=True)
        ]
        return torch.stack(losses).mean()

    def _shown(self, images: Tensor, sure: SureLabels) -> tuple[Tensor, SureLabels]:
        """A strong view of every image with a box of the one before, and its labels."""
        draw, groups = partial(uniform, self.passes, purpose="strong views"), sure.groups(len(images))
        boxes = boxes_of_area(len(images), images.shape[2:], self.box_area, LARGEST_RATIO, self.box_chance, draw)
        changed, of_labels = strong_view(images, draw), boxes.repeat_interleave(groups, dim=0)
        labels, counted = (pasted(of_labels, one.roll(groups, dims=0), one) for one in (sure.labels, sure.counted))
        return pasted(boxes, changed.roll(1, dims=0), changed), SureLabels(labels, counted)
