"""Consistency where the teacher is sure: by a threshold of its entropy, or by a weight that falls with it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32


def entropy_threshold(rise: float, first: float = 0.75, last: float = 1.0) -> float:
    """The largest entropy, in nats, of a prediction that counts: (first + (last - first) * rise) * ln 2.

    Yu et al. (MICCAI 2019, UA-MT) have ln C for 2 classes. It stays ln 2 for more, the entropy of a coin tossed between
    two of them: 0.75 ln C would let that pass from 4 classes on.

    Args:
        rise: From 0 to 1, over the training.
    """
    return (first + (last - first) * rise) * math.log(2)


def mean_of(maps: Iterable[Tensor]) -> Tensor:
    """The mean of maps of one shape, of which only the sum is kept while they come."""
    rest = iter(maps)
    found, count = next(rest).clone(), 1
    for one in rest:
        found += one
        count += 1
    return found / count


def squared_distance(first: Tensor, second: Tensor) -> Tensor:
    """The mean over channels of the squared difference, (B, F, *S) twice to (B, *S).

    No gradient flows into the second.
    """
    return (at_least_float32(first) - at_least_float32(second).detach()).square().mean(dim=1)
