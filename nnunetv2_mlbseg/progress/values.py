"""Numbers of an epoch's iterations: from tensors on a device to means on the host."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

DEVIATION = "_sd"
"""Ends the name of a standard deviation, beside the mean of a quantity with several values."""


def as_array(values: Sequence[Any]) -> np.ndarray:
    """Numbers, or vectors of one length, in double precision: ``(N,)`` or ``(N, V)``; one transfer from a device."""
    found: list[Any] = list(values)
    places = [i for i, value in enumerate(found) if isinstance(value, Tensor)]
    if places:
        on_host = torch.stack([found[i] for i in places]).cpu()  # before .double(): Apple's GPUs have no such numbers
        for i, row in zip(places, on_host.double().numpy(), strict=True):
            found[i] = row
    return np.asarray(found, dtype=np.float64)


def epoch_means(outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean of every quantity over the iterations of an epoch; tensors cross to the host here, once each.

    A quantity with one value per view gives a list, and a second one (name + ``_sd``) with the standard deviations.
    Values that are not finite belong to steps that were left out, and are left out here; NaN if there is no other.
    """
    found: dict[str, Any] = {}
    for name in outputs[0]:
        values = as_array([output[name] for output in outputs])
        values = np.where(np.isfinite(values), values, math.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a quantity that was never finite
            found[name] = np.nanmean(values, axis=0).tolist()
            if values.ndim > 1:
                found[name + DEVIATION] = np.nanstd(values, axis=0).tolist()
    return found
