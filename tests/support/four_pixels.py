"""Four pixels with both labels, small enough to work weights out by hand."""

from __future__ import annotations

import torch
from maths_support import imperfect_labels

from nnunetv2_mlbseg.maths.labels import IGNORE, ImperfectLabels

# Four pixels: n against p is 0:0, 0:1, 1:0, and no imperfect label.
IMPERFECT = torch.tensor([[[0, 0, 1, IGNORE]]])
PSEUDO = torch.tensor([[[0, 1, 0, 1]]])
PROBABILITIES = torch.tensor([[[[0.9, 0.2, 0.7, 0.4]], [[0.1, 0.8, 0.3, 0.6]]]])


def labels_of(classes: torch.Tensor, generated: bool = False) -> ImperfectLabels:
    """Labels (B, *S), all of them given or all of them generated."""
    return imperfect_labels(classes, torch.full((len(classes),), generated))


GIVEN, GENERATED = labels_of(IMPERFECT), labels_of(IMPERFECT, generated=True)
