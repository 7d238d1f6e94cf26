"""The same weight for every labelled pixel: bootstrapping with fixed weights (weighting "uniform")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from nnunetv2_mlbseg.maths.labels import WeightedLabels
from nnunetv2_mlbseg.maths.records import NoRecord
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.weighting.normalization import normalize_weights
from nnunetv2_mlbseg.maths.weighting.seen import Seen


@dataclass(frozen=True)
class Uniform:
    """1 for every label that there is, at every scale.

    Attributes:
        normalization: see `normalize_weights`.
    """

    normalization: str

    needs_tangents: ClassVar[bool] = False
    weighs_by_tangents: ClassVar[bool] = False

    def begin(self, classes: int, cases: int = 0, device: torch.device | str = "cpu", groups: int = 1) -> NoRecord:
        """Nothing is remembered."""
        return NoRecord()

    def learned(self, seen: Seen, state: NoRecord, total: Total = unchanged) -> NoRecord:
        """The state as it is."""
        return state

    def weigh(self, seen: Seen, state: NoRecord, total: Total = unchanged) -> list[WeightedLabels]:
        """Labels resized as nnU-Net does, counted, normalised (Eq. 8)."""
        dtype = at_least_float32(seen.ensemble).dtype
        weighted = []
        for size in seen.sizes:
            n, p = seen.labels_at(size)
            raw = (n >= 0).to(dtype), (p >= 0).to(dtype)
            weighted.append(WeightedLabels(n, p, *raw, *normalize_weights(*raw, self.normalization, total=total)))
        return weighted
