"""The labels of a batch of imperfect images, with what is known about where they come from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
