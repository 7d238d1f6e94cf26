"""A mixture of two Gaussians of numbers, fitted by expectation maximisation: which losses are the small ones.

All stays on the device, and the number of iterations is fixed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ITERATIONS, LEAST_VARIANCE = 10, 5e-4
"""As DivideMix calls it (Li et al., ICLR 2020); its early stop at a tolerance of 0.01 is left out."""


def chance_of_the_lower(values: Tensor, known: Tensor) -> Tensor:
    """The posterior of the component with the lower mean, by which DivideMix takes a label for a right one.

    Values are scaled to 0 to 1 first. Components whose means lie closer together than their pooled standard deviation
    tell nothing apart, and all posteriors are 0.5 then (deviation from the paper's code, which divides few cases with
    errors of one kind arbitrarily).

    Args:
        values: (N,), for example the mean loss of each case.
        known: (N,) bool, which values there are; the others do not count, and get 0.5.

    Returns:
        (N,) float64 from 0 to 1; 0.5 for all where fewer than two values are known. No gradient.
    """
    if not len(values):
        return values.double()
    values = torch.where(known, values.detach().double(), 0.0)
    low = torch.where(known, values, torch.inf).min()
    width = torch.where(known, values, -torch.inf).max() - low
    scaled = (values - low) / width
    usable = known & (width > 0) & width.isfinite()  # of no or of equal values nothing is, and the fit's NaN is unused
    posterior, apart = _fitted(torch.where(usable, scaled, 0.0), usable.double())
    return torch.where(usable & apart, posterior, 0.5)


def _fitted(values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Posterior of the lower of two components, from values between 0 and 1; and whether both are apart."""
    of_upper = (values > 0.5).double()
    shares = torch.stack([1 - of_upper, of_upper])  # (2, N)
    for _ in range(ITERATIONS):
        weights, means, variances = _moments(values, shares * counted)
        log = -0.5 * ((values - means) ** 2 / variances + (2 * math.pi * variances).log()) + weights.log()
        shares = log.softmax(dim=0)
    pooled = (weights * variances).sum().sqrt()
    apart = (means[0] - means[1]).abs() > pooled
    return shares.gather(0, means.argmin(dim=0, keepdim=True).expand(1, len(values)))[0], apart


def _moments(values: Tensor, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weight, mean and variance of both components, (2, 1) each."""
    counts = shares.sum(dim=1, keepdim=True) + torch.finfo(torch.float64).eps
    means = (shares * values).sum(dim=1, keepdim=True) / counts
    variances = (shares * (values - means) ** 2).sum(dim=1, keepdim=True) / counts + LEAST_VARIANCE
    return counts / counts.sum(), means, variances
