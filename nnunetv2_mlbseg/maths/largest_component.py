"""The largest connected component of every class, found on the host."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import generate_binary_structure, label
from torch import Tensor


def largest_components(labels: Tensor, classes: int) -> Tensor:
    """Set to background what is not in the largest component of its class; corners touch, as in BCP's code.

    Labels are copied to the host and back, for which a GPU waits.

    Args:
        labels: (B, *S) int64, none negative.
        classes: C, the background included.
    """
    found = labels.cpu().numpy().copy()
    for image in found:
        for number in range(1, classes):
            image[_but_the_largest(image == number)] = 0
    return torch.from_numpy(found).to(labels.device)


def _but_the_largest(inside: np.ndarray) -> np.ndarray:
    numbers, count = label(inside, generate_binary_structure(inside.ndim, inside.ndim))
    if count < 2:
        return np.zeros_like(inside)
    sizes = np.bincount(numbers[inside], minlength=count + 1)
    return inside & (numbers != sizes.argmax())
