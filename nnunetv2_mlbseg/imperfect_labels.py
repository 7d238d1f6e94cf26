"""The labels of a batch of imperfect images, with what is known about where they come from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nnunetv2_mlbseg.label_depth import depth_levels


@dataclass(frozen=True)
class ImperfectLabels:
    """Labels that may be wrong.

    Attributes:
        classes: (B, *S) int64, negative = no label.
        levels: (B, *S) int64, how deep a pixel lies within its label (see :mod:`label_depth`).
        generated: (B,) bool, whether a network made the label of an image.
        case: (B,) int64, the number of the noisy case that an image is from; negative = from none.
    """

    classes: Tensor
    levels: Tensor
    generated: Tensor
    case: Tensor

    @classmethod
    def of(cls, classes: Tensor, generated: Tensor, case: Tensor | None = None, flat: bool = False) -> ImperfectLabels:
        """With the levels that the labels themselves give; without ``case`` from no case in particular."""
        case = torch.full_like(generated, -1, dtype=torch.int64) if case is None else case
        return cls(classes, depth_levels(classes, flat), generated, case)

    def images(self, part: slice) -> ImperfectLabels:
        """Of some of the images."""
        return ImperfectLabels(self.classes[part], self.levels[part], self.generated[part], self.case[part])
