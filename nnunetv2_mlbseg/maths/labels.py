"""Labels as class indices: what is known of imperfect ones, what they weigh, and how they look at another scale.

A label map is int64 of shape (B, *S); a negative label means "ignored".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32

IGNORE = -1
"""Label of a pixel that has no class; every other negative value means the same."""


@dataclass(frozen=True)
class ImperfectLabels:
    """Labels that may be wrong, of a batch of images, with what is known about where they come from.

    Attributes:
        classes: (B, *S) int64, negative = no label.
        levels: (B, *S) int64, how deep a pixel lies within its label (see `maths/weighting/depth`).
        generated: (B,) bool, whether a network made the label of an image.
        case: (B,) int64, the number of the noisy case that an image is from; negative = from none. Further labels of
            a case have numbers of their own, see :attr:`~nnunetv2_mlbseg.training.task.Task.kinds`.
        groups: How many groups an image has, one after the other (see `maths/label_space`).
        witnesses: Where images may have several labels, those of every kind; ``classes`` is then what they say together
            (see `maths/weighting/testimony`). Empty: ``classes`` is the only one.
    """

    classes: Tensor
    levels: Tensor
    generated: Tensor
    case: Tensor
    groups: int = 1
    witnesses: tuple[ImperfectLabels, ...] = ()

    @property
    def each(self) -> tuple[ImperfectLabels, ...]:
        """Every label by itself."""
        return self.witnesses or (self,)

    @property
    def together(self) -> ImperfectLabels:
        """Every label by itself, as images of one batch, kind by kind."""
        if not self.witnesses:
            return self
        each = self.witnesses
        pixels = torch.cat([one.classes for one in each]), torch.cat([one.levels for one in each])
        images = torch.cat([one.generated for one in each]), torch.cat([one.case for one in each])
        return ImperfectLabels(*pixels, *images, self.groups)

    @property
    def group(self) -> Tensor:
        """(B,) int64, the number of every image's group."""
        return torch.arange(len(self.case), device=self.case.device) % self.groups

    def first(self, images: int) -> ImperfectLabels:
        """Of the first images of the batch."""
        of_pixels, of_images = (
            (self.classes[:images], self.levels[:images]),
            (self.generated[:images], self.case[:images]),
        )
        witnesses = tuple(one.first(images) for one in self.witnesses)
        return ImperfectLabels(*of_pixels, *of_images, self.groups, witnesses)

    def without(self, out: Callable[[Tensor], Tensor]) -> ImperfectLabels:
        """Without the labels that ``out`` finds among classes (B, *S)."""
        witnesses = tuple(one.without(out) for one in self.witnesses)
        return replace(self, classes=torch.where(out(self.classes), IGNORE, self.classes), witnesses=witnesses)


class Mixture(NamedTuple):
    """Several labels of the same pixels, K of each, with their weights.

    Attributes:
        labels: (B, K, *S) int64, none negative.
        weights: (B, K, *S) float32 or better, no unit; 0 where a label is ignored. No gradient flows into them.
    """

    labels: Tensor
    weights: Tensor

    @classmethod
    def of(cls, labels: Sequence[Tensor], weights: Sequence[Tensor]) -> Mixture:
        """From K maps (B, *S) of either kind; a negative label is ignored."""
        stacked = torch.stack(list(labels), dim=1)
        counted = at_least_float32(torch.stack([weight.detach() for weight in weights], dim=1))
        return cls(stacked.clamp_min(0), torch.where(stacked >= 0, counted, 0.0))


@dataclass(frozen=True)
class WeightedLabels:
    """Both labels of every pixel at one scale, (B, *S), with their raw and their normalised weights.

    With tied weights there is a third one, the rival of what both labels agree on, and its normalised weight.
    """

    imperfect: Tensor
    pseudo: Tensor
    raw_imperfect: Tensor
    raw_pseudo: Tensor
    weight_imperfect: Tensor
    weight_pseudo: Tensor
    rival: Tensor | None = None
    weight_rival: Tensor | None = None

    def mixture(self) -> Mixture:
        """Every label with its normalised weight, as losses take them."""
        return Mixture.of(*zip(*self.pairs(), strict=True))

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Every label with its normalised weight."""
        found = [(self.imperfect, self.weight_imperfect), (self.pseudo, self.weight_pseudo)]
        return found if self.rival is None or self.weight_rival is None else [*found, (self.rival, self.weight_rival)]


def as_labels(target: Tensor | Sequence[Tensor], ignore_label: int | None, channel: int = 0) -> Tensor:
    """nnU-Net's target (B, 1, *S) as class indices (B, *S) int64 with ignored pixels negative.

    With deep supervision the target is a list, finest first, and the finest counts. Where labels of another kind travel
    along, ``channel`` tells which.
    """
    labels = (target if isinstance(target, Tensor) else target[0])[:, channel].long()
    return labels if ignore_label is None else torch.where(labels == ignore_label, IGNORE, labels)


def labels_that_count(imperfect: Tensor, pseudo: Tensor, which: str) -> tuple[Tensor, Tensor]:
    """Both labels, or one of them with the other ignored at every pixel, so that it has neither weight nor loss.

    Args:
        imperfect, pseudo: (B, *S) int64.
        which: "both", "imperfect" (weights on the given labels only, Mirikharaji et al. 2019) or "pseudo".

    Raises:
        ValueError: an unknown ``which``.
    """
    if which == "both":
        return imperfect, pseudo
    if which == "imperfect":
        return imperfect, torch.full_like(pseudo, IGNORE)
    if which == "pseudo":
        return torch.full_like(imperfect, IGNORE), pseudo
    raise ValueError(f"unknown choice of labels {which!r}, expected both, imperfect or pseudo")


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Labels at another scale, by the nearest-neighbour rule of nnU-Net's deep supervision ("nearest-exact").

    Args:
        labels: (B, *S) int64 (float32 must hold its values exactly: below 2**24); also a map of weights.
        size: the wanted spatial shape.

    Returns:
        (B, *size) of the same type; ``labels`` itself if the size is already right.
    """
    if tuple(labels.shape[1:]) == tuple(size):
        return labels
    resized = F.interpolate(labels.unsqueeze(1).float(), size=tuple(size), mode="nearest-exact")
    return resized.squeeze(1).to(labels.dtype)
