"""The loss of every noisy case under two networks, and how likely its label is right by that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.two_gaussians import chance_of_the_lower


class CaseLosses:
    """Means over the patches of an epoch, for both networks. All stays on the device.

    The last column stands for images of no noisy case, whose label is never right.

    Args:
        cases: Number of noisy cases.
    """

    def __init__(self, cases: int, device: torch.device):
        self.cases = cases
        self.sums, self.counts, self.means = (torch.zeros(2, cases + 1, device=device) for _ in range(3))
        self.known = torch.zeros(2, cases + 1, dtype=torch.bool, device=device)
        self.chances = torch.full((2, cases + 1), 0.5, device=device)

    def add_(self, network: int, losses: Tensor, case: Tensor) -> None:
        """Take note of the losses (B,) of images of some cases, (B,) int64, negative = of none; not of NaN."""
        places, finite = self._places(case), losses.isfinite()
        self.sums[network].index_add_(0, places, torch.where(finite, losses.detach().float(), 0.0))
        self.counts[network].index_add_(0, places, finite.float())

    def divide_(self) -> None:
        """Begin an epoch: tell right from wrong labels, for each network by the losses that the OTHER one had."""
        seen = self.counts > 0
        self.means = torch.where(seen, self.sums / self.counts.clamp_min(1), self.means)
        self.known = self.known | seen
        for network in (0, 1):
            values, known = self.means[1 - network, : self.cases], self.known[1 - network, : self.cases]
            self.chances[network, : self.cases] = chance_of_the_lower(values, known).float()
        self.sums.zero_()
        self.counts.zero_()

    def chance(self, network: int, case: Tensor) -> Tensor:
        """That the labels of images are right, (B,) from 0 to 1; 0 for images of no noisy case."""
        return torch.where(case < 0, 0.0, self.chances[network, self._places(case)])

    def _places(self, case: Tensor) -> Tensor:
        return torch.where(case < 0, self.cases, case)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {f"case_{name}": getattr(self, name).clone() for name in _STATE}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo :meth:`state`."""
        for name in _STATE:
            setattr(self, name, state[f"case_{name}"].to(self.sums.device).clone())


_STATE = ("sums", "counts", "means", "known", "chances")


def class_balanced_loss(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of every image, averaged over each class's pixels first, so that large organs do not look noisy.

    Args:
        probabilities: (B, C, *S). No gradient flows.
        labels: (B, *S) int64, negative = ignored.

    Returns:
        (B,), NaN for an image without a label.
    """
    known = labels >= 0
    places = labels.clamp_min(0).flatten(1)
    of_label = probabilities.detach().flatten(2).gather(1, places.unsqueeze(1)).squeeze(1)
    losses = torch.where(known.flatten(1), -of_label.clamp_min(1e-8).log(), 0.0)
    sums, counts = losses.new_zeros(2, *probabilities.shape[:2])
    sums = sums.scatter_add(1, places, losses)
    counts = counts.scatter_add(1, places, known.flatten(1).to(losses.dtype))
    return (sums / counts.clamp_min(1)).sum(dim=1) / (counts > 0).sum(dim=1)
