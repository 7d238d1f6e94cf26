"""How well predictions agree with labels, epoch by epoch, and which classes have been learned by that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import Total
from nnunetv2_mlbseg.methods.learning_curves import has_slowed

KEYS = ("agreement", "agreement_counts", "agreement_steps")
"""Names in a checkpoint."""


@dataclass(frozen=True)
class LearnedClasses:
    """Intersection over union of predictions and labels on the patches of the training.

    Attributes:
        epochs: ``(epochs, C)``, of every epoch that is over; NaN for a class that neither showed.
        counts: ``(2, C)``, pixels in intersection and union, of the epoch that goes on.
        steps: Iterations of that epoch.
    """

    epochs: Tensor
    counts: Tensor
    steps: int

    @classmethod
    def none_yet(cls, classes: int, device: torch.device | str) -> LearnedClasses:
        """Before the first epoch."""
        return cls(torch.zeros(0, classes, device=device), torch.zeros(2, classes, device=device), 0)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], classes: int, device: torch.device | str) -> LearnedClasses:
        """Undo :meth:`state`; what lacks it is before the first epoch."""
        if not set(KEYS) <= state.keys():
            return cls.none_yet(classes, device)
        epochs, counts, steps = (state[key] for key in KEYS)
        return cls(epochs.to(device), counts.to(device), steps)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(zip(KEYS, (self.epochs, self.counts, self.steps), strict=True))

    def with_step(self, predicted: Tensor, labels: Tensor, total: Total, *, first: bool) -> LearnedClasses:
        """With one iteration more. Nothing is read on the host.

        Args:
            predicted: ``(B, *S)`` int64.
            labels: ``(B, *S)`` int64, negative = no label.
            total: Sums over the processes that share a batch.
            first: Whether an epoch begins with it.
        """
        before = self.when_over() if first else self
        counts = before.counts + total(overlaps(predicted, labels, self.counts.shape[1]))
        return LearnedClasses(before.epochs, counts, before.steps + 1)

    def when_over(self) -> LearnedClasses:
        """With the epoch that goes on as one that is over, if it has begun."""
        if self.steps == 0:
            return self
        ratios = (self.counts[0] / self.counts[1]).unsqueeze(0)
        return LearnedClasses(torch.cat([self.epochs, ratios]), torch.zeros_like(self.counts), 0)

    def classes(self, every: int, change: float) -> tuple[int, ...]:
        """Those whose curve had slowed when it was looked at, which is every so many epochs; they stay learned.

        Args:
            change: Share of the first slope that has to be lost.
        """
        curves = self.when_over().epochs.T.tolist()
        looks = range(every, len(curves[0]) + 1, every)
        return tuple(
            number for number, curve in enumerate(curves) if any(has_slowed(curve[:epochs], change) for epochs in looks)
        )


def overlaps(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Pixels of every class in intersection and union of predictions and labels, where there is a label: ``(2, C)``."""
    nowhere = torch.full_like(labels, classes)
    known, agree = labels >= 0, labels == predicted
    both = _counts(torch.where(agree, labels, nowhere), classes)
    either = _counts(torch.where(known, labels, nowhere), classes)
    either = either + _counts(torch.where(known, predicted, nowhere), classes) - both
    return torch.stack([both, either])


def _counts(marks: Tensor, classes: int) -> Tensor:
    """Pixels of every class; the mark ``classes`` is none."""
    flat = marks.flatten()
    ones = torch.ones_like(flat, dtype=torch.float32)
    return ones.new_zeros(classes + 1).scatter_add_(0, flat, ones)[:classes]
