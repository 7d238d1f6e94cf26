"""What MLB-Seg remembers of earlier batches: how labels err, and how much of an image each class takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.class_shares import ShareRecord
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord
from nnunetv2_mlbseg.maths.weighting.strategies import Weighting

State = Mapping[str, Tensor] | None


@dataclass(frozen=True)
class Memory:
    """Tables of earlier batches; None before the first one, and where nothing of the kind is kept.

    Attributes:
        disputes: What the weighting has learned.
        shares: The class shares of clean and unlabeled images.
    """

    disputes: Record | None = None
    shares: ShareRecord | None = None

    def followed_by(self, seen: Memory) -> Memory:
        """``seen`` has one batch more than this memory; disputes that a NaN got into are left out."""
        return Memory(seen.disputes and seen.disputes.unless_spoilt(self.disputes), seen.shares)

    def state(self) -> dict[str, dict[str, Tensor] | None]:
        """For a checkpoint."""
        return {name: record and (record.state() or None) for name, record in vars(self).items()}

    def knowing(self, known: Tensor, begin: Callable[[], Record]) -> Memory:
        """With pixels of which true and former label are known; ``begin``: makes the record if there is none yet."""
        record = self.disputes or begin()
        return replace(self, disputes=record.with_known(known) if isinstance(record, DisputeRecord) else record)

    @classmethod
    def from_state(
        cls, state: Mapping[str, State], weighting: Weighting[Any], device: torch.device, sources: Sequence[int] = ()
    ) -> Memory:
        """Undo :meth:`state`; a record that ``state`` lacks, or has in a form that is no longer known, begins anew.

        Args:
            sources: See :func:`with_sources`: what the dataset says now.
        """
        disputes, shares = state.get("disputes"), state.get("shares")
        kind = type(weighting.begin(1))
        known = disputes is not None and kind.of_former(disputes).keys() == set(kind.names())
        return cls(
            with_sources(kind.from_state(disputes).to(device), sources) if disputes is not None and known else None,
            None if shares is None else ShareRecord.from_state(shares).to(device),
        )


def with_sources(record: Record, sources: Sequence[int]) -> Record:
    """A record that knows the sources of labels, if it is of a kind that tells them apart.

    Args:
        sources: See :attr:`~nnunetv2_mlbseg.training.task.Task.sources`.
    """
    return record.with_sources(sources) if isinstance(record, DisputeRecord) else record
