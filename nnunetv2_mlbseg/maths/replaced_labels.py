"""Labels of a case in which a network's surest predictions take the place of what it contradicts."""

from __future__ import annotations

import torch
from torch import Tensor


def replaced_labels(probabilities: Tensor, labels: Tensor, certainty: Tensor, replacing: Tensor) -> Tensor:
    """Every label, or the most probable class where that is sure enough, may replace others, and is in the case at all.

    Args:
        probabilities: (C, *S) of one case.
        labels: (*S) int64; pixels with a value below 0, or of C or more, have none and stay as they are.
        certainty: (C,), the probability that a class has to exceed; above 1: it never does.
        replacing: (C,) bool, the classes that may replace others.
    """
    classes = len(probabilities)
    known = (labels >= 0) & (labels < classes)
    counts = torch.bincount(torch.where(known, labels, classes).flatten(), minlength=classes + 1)[:classes]
    probability, predicted = probabilities.max(dim=0)
    may = (replacing & (counts > 0))[predicted]
    return torch.where(known & may & (probability > certainty[predicted]), predicted, labels)
