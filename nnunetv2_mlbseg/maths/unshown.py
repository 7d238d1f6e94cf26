"""Classes, or regions, that no clean image shows: clean images can neither teach nor judge them.

A loss of clean images that counts such a class says "nowhere" at every pixel, and a network believes it. So the loss is
taken over the other classes, as if there were no such class, and no gradient reaches its logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.label_space import LabelSpace


@dataclass(frozen=True)
class Unshown:
    """Some of a network's outputs.

    Attributes:
        classes: Which ones; never class 0 where classes are exclusive.
        flags: (G, C) bool, the same for every class of every group: of a region its whole group.
        kept: (O + 1,) int64, all O other outputs in their order, and the one after the last.
        numbers: (C,) int64, the place of every class among the others; C for one that is not among them. None for
            regions.
    """

    classes: tuple[int, ...]
    flags: Tensor
    kept: Tensor
    numbers: Tensor | None

    @classmethod
    def of(
        cls, classes: Sequence[int], count: int, device: torch.device | str = "cpu", regions: bool = False
    ) -> Unshown | None:
        """These of ``count`` classes or regions; None for none, so that nothing is computed otherwise."""
        if not classes:
            return None
        flags = torch.zeros(count, dtype=torch.bool)
        flags[list(classes)] = True
        others = (~flags).nonzero().squeeze(1)
        kept = torch.cat([others, torch.tensor([count])]).to(device)
        if regions:
            return cls(tuple(classes), flags.unsqueeze(1).repeat(1, 2).to(device), kept, None)
        numbers = torch.full((count,), count).scatter(0, others, torch.arange(len(others)))
        return cls(tuple(classes), flags.unsqueeze(0).to(device), kept, numbers.to(device))

    def among(self, labels: Tensor) -> Tensor:
        """Which pixels have such a label: (B, *S) int64, negative = no label, to bool."""
        found = self._of_images(len(labels), labels.device).gather(1, labels.clamp_min(0).flatten(1))
        return (labels >= 0) & found.view(labels.shape)

    def without(self, probabilities: Tensor) -> Tensor:
        """Probabilities (B, C, *S), 0 for these classes."""
        flags = self._of_images(len(probabilities), probabilities.device)
        return torch.where(flags.view(*flags.shape, *[1] * (probabilities.ndim - 2)), 0.0, probabilities)

    def other_logits(self, output: Tensor) -> Tensor:
        """The outputs (B, ..., *S) without those of these classes. No gradient flows into what is left out."""
        return output.index_select(1, self.kept[:-1])

    def other_folded(self, logits: Tensor, space: LabelSpace) -> Tensor:
        """The same of folded logits ``(B*G, C, *S)``, see `maths/label_space`."""
        return space.logits(self.other_logits(space.output(logits)))

    @overload
    def other_labels(self, target: Tensor) -> Tensor: ...
    @overload
    def other_labels(self, target: list[Tensor]) -> list[Tensor]: ...
    def other_labels(self, target: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        """nnU-Net's target, or a list of them, for the outputs that are left.

        Of classes (B, 1, *S) in new numbers, of which a value of C or more, the ignore label, stays; of regions
        (B, R, *S) without these, a further channel, where there is no label, stays.
        """
        if isinstance(target, list):
            return [self.other_labels(one) for one in target]
        if self.numbers is None:
            return target.index_select(1, self.kept[: target.shape[1] - len(self.classes)])
        count, labels = len(self.numbers), target.long()
        return torch.where(labels < count, self.numbers[labels.clamp_max(count - 1)], labels)

    def _of_images(self, images: int, device: torch.device) -> Tensor:
        """The flags of every image's group, (B, C)."""
        return self.flags.to(device).repeat(images // len(self.flags), 1)
