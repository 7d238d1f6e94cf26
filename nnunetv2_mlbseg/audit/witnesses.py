"""What is known about the labels of a fold beside the networks' probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.audit.bayes import usual_confusion
from nnunetv2_mlbseg.audit.label_groups import LabelGroups
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord


@dataclass(frozen=True)
class Witnesses:
    """How labels err, as a training has learned it.

    Attributes:
        record: As the training remembers it; None where its weighting keeps no record of that.
        number: Of the noisy case under audit; negative: none, or any.
        shared: (G, C, C), what the networks and such labels have in common, see :mod:`common_knowledge`; None: nothing.
    """

    record: ConfusionRecord | None
    number: int = -1
    shared: Tensor | None = None

    @classmethod
    def of(cls, record: Record | None) -> Witnesses:
        """From what a weighting remembers."""
        return cls(record.confusion if isinstance(record, DisputeRecord) else None)

    def of_case(self, number: int) -> Witnesses:
        """The same for the noisy case of that number."""
        return replace(self, number=number)

    def confusion(self, groups: LabelGroups) -> Tensor:
        """How labels err, (G, C, C, D): those of the case's source where it is known, else all of the fold.

        As the training recorded, or as labels usually do.
        """
        if self.record is not None:
            return self.record.of_sources(torch.full((groups.count,), self.number))
        return usual_confusion(groups.classes).repeat(groups.count, 1, 1, 1)

    def common(self, groups: LabelGroups) -> Tensor:
        """What networks and labels have in common, (G, C, C)."""
        return torch.zeros(groups.count, groups.classes, groups.classes) if self.shared is None else self.shared

    def as_dict(self, groups: LabelGroups) -> dict[str, Any] | None:
        """For the JSON file."""
        return None if self.record is None else {"confusion": groups.plain(self.record.matrix.sum(3))}
