"""Signed distance maps: how far a pixel lies from the boundary of a class, negative inside.

Exact Euclidean distances, in pixels, on any device and without a copy to the host: squared distances grow axis by axis,
each time as the smallest sum of what the other axes gave and the square of a distance along this one (Felzenszwalb and
Huttenlocher, Theory of Computing 2012, whose lower envelope of parabolas is looked up here in one go).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import IGNORE

AT_ONCE = 2**22
"""How many sums one operation makes: 16 MiB in float32. More take a CPU, whose caches they leave, ten times as long."""


def signed_distance(labels: Tensor, classes: int) -> Tensor:
    """The map of every foreground class (Li et al., MICCAI 2020; Luo et al., AAAI 2021), each side scaled to 1.

    Outside it is the distance over the largest one of the image, inside minus the same, on the class's own pixels at
    the boundary 0. A class that the image lacks is 1 everywhere and one that fills it -1: their own code has 0 there,
    "boundary everywhere", and NaN.

    Args:
        labels: (B, *S) int64, negative = ignored; such pixels count as outside of every class.
        classes: C, the background included.

    Returns:
        (B, C - 1, *S) float32 from -1 to 1. No gradient.
    """
    numbers = torch.arange(1, classes, device=labels.device).view(1, -1, *[1] * (labels.ndim - 1))
    inside = labels.unsqueeze(1) == numbers
    to_inside, to_outside = squared_distance(inside), squared_distance(~inside)
    found = _scaled(to_inside) - _scaled(to_outside)
    found = torch.where(to_outside == 1, 0.0, found)
    every = inside.flatten(2).all(dim=2).view(*inside.shape[:2], *[1] * (labels.ndim - 1))
    none = ~inside.flatten(2).any(dim=2).view(every.shape)
    return torch.where(every, -1.0, torch.where(none, 1.0, found))


def signed_distance_loss(predicted: Tensor, labels: Tensor, distances: Tensor) -> Tensor:
    """The squared distance of every pixel to its signed distance map, mean over classes; 0 where the label is ignored.

    Args:
        predicted: (B, C - 1, *S), from -1 to 1. Gradient flows into them.
        labels: (B, *S) int64, negative = ignored.
        distances: (B, C - 1, *S), of :func:`signed_distance`.

    Returns:
        (B, *S).
    """
    return torch.where(labels > IGNORE, (predicted - distances).square().mean(dim=1), 0.0)


def probability_of_distance(distances: Tensor, slope: float) -> Tensor:
    """The sigmoid of -slope * z: near 1 inside, near 0 outside (Luo et al. 2021, with a slope of 1,500).

    Args:
        distances: z, (B, C - 1, *S). Gradient flows into them, where \\|z\\| is some few times 1 / slope or less.
    """
    return (-slope * distances).sigmoid()


def squared_distance(mask: Tensor) -> Tensor:
    """From every pixel to the next one that ``mask`` marks, in pixels squared: (B, C, *S) bool to float32.

    Where nothing is marked it is infinite.
    """
    found = torch.where(mask, 0.0, torch.inf)
    for axis in range(2, mask.ndim):
        found = _along(found.movedim(axis, -1)).movedim(-1, axis)
    return found


def _along(values: Tensor) -> Tensor:
    """min over j of values[..., j] + (i - j)^2, at every i of the last axis."""
    places = torch.arange(values.shape[-1], device=values.device, dtype=values.dtype)
    squares = (places.unsqueeze(1) - places).square()
    lines = values.flatten(0, -2)
    parts = lines.split(max(1, AT_ONCE // squares.numel()))
    return torch.cat([(part.unsqueeze(1) + squares).amin(dim=2) for part in parts]).view(values.shape)


def _scaled(squared: Tensor) -> Tensor:
    """Distances over the largest of each map, from their squares; 0 for a map without any."""
    distances = torch.where(squared.isfinite(), squared, 0.0).sqrt()
    largest = distances.flatten(2).amax(dim=2)
    return distances / largest.where(largest > 0, 1.0).view(*largest.shape, *[1] * (squared.ndim - 2))
