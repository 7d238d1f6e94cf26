"""Classes that no clean image shows: clean images can neither teach nor judge them.

A loss of clean images that counts such a class says "nowhere" at every pixel, and a network believes it. So the loss is
taken over the other classes, as if there were no such class, and no gradient reaches its logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor


@dataclass(frozen=True)
class Unshown:
    """Some classes of a network.

    Attributes:
        classes: Which ones; never class 0.
        flags: (C,) bool, the same for every class.
        others: (C - U,) int64, all other classes in their order.
        numbers: (C,) int64, the place of every class among ``others``; C for one that is not among them.
    """

    classes: tuple[int, ...]
    flags: Tensor
    others: Tensor
    numbers: Tensor

    @classmethod
    def of(cls, classes: Sequence[int], count: int, device: torch.device | str = "cpu") -> Unshown | None:
        """These of ``count`` classes; None for none, so that nothing is computed otherwise."""
        if not classes:
            return None
        flags = torch.zeros(count, dtype=torch.bool)
        flags[list(classes)] = True
        others = (~flags).nonzero().squeeze(1)
        numbers = torch.full((count,), count).scatter(0, others, torch.arange(len(others)))
        return cls(tuple(classes), flags.to(device), others.to(device), numbers.to(device))

    def among(self, labels: Tensor) -> Tensor:
        """Which pixels have such a label: (B, *S) int64, negative = no label, to bool."""
        return (labels >= 0) & self.flags.to(labels.device)[labels.clamp_min(0)]

    def without(self, probabilities: Tensor) -> Tensor:
        """Probabilities (B, C, *S), 0 for these classes."""
        flags = self.flags.to(probabilities.device).view(1, -1, *[1] * (probabilities.ndim - 2))
        return torch.where(flags, 0.0, probabilities)

    def other_logits(self, logits: Tensor) -> Tensor:
        """(B, C, *S) to the logits of the other classes, (B, C - U, *S). No gradient flows into the logits left out."""
        return logits.index_select(1, self.others)

    @overload
    def other_labels(self, target: Tensor) -> Tensor: ...
    @overload
    def other_labels(self, target: list[Tensor]) -> list[Tensor]: ...
    def other_labels(self, target: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
        """nnU-Net's target (B, 1, *S), or a list of them, in the numbers of the other classes.

        A value of C or more, which is the ignore label, stays.
        """
        if isinstance(target, list):
            return [self.other_labels(one) for one in target]
        count, labels = len(self.numbers), target.long()
        return torch.where(labels < count, self.numbers[labels.clamp_max(count - 1)], labels)
