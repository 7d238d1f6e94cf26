"""Pseudo labels: the ensemble of the views and its argmax (Eq. 3 and 10)."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32
from nnunetv2_mlbseg.maths.views import Views


def ensemble_probabilities(aligned: Tensor, covered: Tensor) -> Tensor:
    """The mean inside Eq. 10, taken at every pixel over the views that cover it.

    The paper divides by Q + 1 everywhere. Here a view that does not show a pixel has no vote there (deviation:
    counting it with zeros would not change the argmax, but would no longer be a probability).

    Args:
        aligned: (V, B, C, *S) class probabilities in the image's frame. Gradient flows into them.
        covered: (V, B, *S) bool, which view covers which pixel.

    Returns:
        (B, C, *S) probabilities; 0 where no view covers the pixel (view 0 always does).
    """
    aligned = at_least_float32(aligned)
    votes = covered.unsqueeze(2)
    total = torch.zeros_like(aligned[0])
    for view, inside in zip(aligned, votes, strict=True):  # one after the other: no second volume of all of them
        total = total + torch.where(inside, view, 0.0)
    return total / votes.sum(dim=0).clamp_min(1)


def ensemble_of_views(probabilities: Tensor, views: Views) -> Tensor:
    """The mean inside Eq. 10, in the image's frame: (V*B, C, *S), one per view, to (B, C, *S). No gradient."""
    probabilities = probabilities.detach()
    aligned = views.invert(probabilities)
    return ensemble_probabilities(aligned, views.covered(aligned.shape[3:], aligned.shape[1]))


def pseudo_labels(probabilities: Tensor) -> Tensor:
    """The most probable class of every pixel (Eq. 3, and the argmax of Eq. 10).

    Args:
        probabilities: (B, C, *S); logits do as well.

    Returns:
        (B, *S) int64. No gradient flows through it.
    """
    return probabilities.detach().argmax(dim=1)
