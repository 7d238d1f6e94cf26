"""What a training and those who look into it know of a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.weighting.strategies import Weighting


@dataclass(frozen=True)
class LabelWeighing:
    """How a method weighs the two labels of a pixel, with what it has learned so far.

    Attributes:
        name: Of the weighting, as the settings have it.
        weighting: None: the method has no weights.
        record: What the weighting remembers; None before the first weights.
        normalization: One of :data:`~nnunetv2_mlbseg.maths.weighting.normalization.NORMALIZATIONS`.
        counted: Which labels have weights: "both", "imperfect" or "pseudo".
        by_depth: Whether pixels are told apart by their depth within the label.
        none_because: Why there are no weight maps; None where there are.
    """

    name: str
    weighting: Weighting[Any] | None
    record: Record | None
    normalization: str
    counted: str
    by_depth: bool
    none_because: str | None
