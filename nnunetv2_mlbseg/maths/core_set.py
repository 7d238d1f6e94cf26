"""Which candidates to take next, so that they are worth it and unlike each other: a greedy weighted core set.

The greedy rule of k-center (Gonzalez 1985; core sets of Sener and Savarese 2018): each next candidate is the one
farthest from all that is covered already. Here its distance is weighed by what it is worth, so that uncertain and
representative ones are taken, as in suggestive annotation (Yang et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """A candidate that was taken.

    Attributes:
        number: Which candidate.
        nearest: What covers it best: below M one of the covered, from M on candidate ``nearest`` - M, taken before.
        distance: To that, 0 or more.
        gain: ``distance`` times its worth.
    """

    number: int
    nearest: int
    distance: float
    gain: float


def standardised(features: Tensor) -> Tensor:
    """Every feature with mean 0 and standard deviation 1 over the rows of (N, F); 0 where all rows have the same."""
    centred = features - features.mean(dim=0)
    spread = centred.square().mean(dim=0).sqrt()
    return torch.where(spread > 0, centred / spread.clamp_min(torch.finfo(features.dtype).tiny), 0.0)


def core_set(covered: Tensor, candidates: Tensor, worth: Tensor, count: int) -> list[Choice]:
    """Take ``count`` candidates one by one, each with the largest worth times distance; of equal ones the first.

    Args:
        covered: (M, F), M at least 1.
        candidates: (N, F).
        worth: (N,), 0 or more.
        count: All of them are taken where there are fewer.
    """
    known = torch.cat([covered, candidates])
    apart = torch.cdist(known, known, compute_mode="donot_use_mm_for_euclid_dist")[len(covered) :]
    distance, nearest = apart[:, : len(covered)].min(dim=1)
    left, choices = torch.ones(len(candidates), dtype=torch.bool), []
    for _ in range(min(count, len(candidates))):
        gain = worth * distance
        number = int(torch.where(left, gain, -1.0).argmax())
        choices.append(Choice(number, int(nearest[number]), float(distance[number]), float(gain[number])))
        left[number] = False
        to_it = apart[:, len(covered) + number]
        nearest = torch.where(to_it < distance, len(covered) + number, nearest)
        distance = torch.minimum(distance, to_it)
    return choices
