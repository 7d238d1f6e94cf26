"""What BCP and SDCL share: a box of one image pasted into another, with the labels of both.

Of each pair (x, u) of a clean and an imperfect image two are made: x with a box of u in it, and u with the same box of
x. Each pixel has the label of the image that it is from. Both kinds of label are kept apart, so that each has a weight
and a Dice of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.mixing_boxes import pasted


@dataclass(frozen=True)
class Pasted:
    """Pasted images and their labels.

    Attributes:
        images: ``(2 N, channels, *S)``.
        clean: ``(2 N, *S)`` int64, the labels of pixels from clean images; negative elsewhere.
        pseudo: ``(2 N, *S)`` int64, those of pixels from imperfect images; negative elsewhere.
    """

    images: Tensor
    clean: Tensor
    pseudo: Tensor

    @classmethod
    def of(cls, boxes: Tensor, clean: tuple[Tensor, Tensor], imperfect: tuple[Tensor, Tensor]) -> Pasted:
        """From N pairs.

        Args:
            boxes: ``(N, *S)`` bool, True inside.
            clean, imperfect: Images ``(N, channels, *S)`` and labels ``(N, *S)``, negative = ignored.
        """
        (x, y), (u, q) = clean, imperfect
        images = torch.cat([pasted(boxes, u, x), pasted(boxes, x, u)])
        return cls(
            images,
            clean=torch.cat([torch.where(boxes, IGNORE, y), torch.where(boxes, y, IGNORE)]),
            pseudo=torch.cat([torch.where(boxes, q, IGNORE), torch.where(boxes, IGNORE, q)]),
        )


def repeated(values: Tensor, count: int) -> Tensor:
    """The first ``count`` of a batch that begins anew at its end; the batch itself if it has as many."""
    if len(values) == count:
        return values
    return values[torch.arange(count, device=values.device) % len(values)]


def with_a_box_of_the_next(boxes: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every image of a batch with a box of the next one in it, and the label that follows; boxes ``(B, *S)``."""
    others = images.roll(-1, dims=0), labels.roll(-1, dims=0)
    return pasted(boxes, others[0], images), pasted(boxes, others[1], labels)
