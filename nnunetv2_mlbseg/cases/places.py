"""nnU-Net's loader, with a note of where each patch is from: in which scan, and how far along its slices."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import torch
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader


class PlacedLoader(nnUNetDataLoader):
    """Batches of nnU-Net's with two keys more.

    ``position`` ``(B,)`` float32: the centre of the patch along the first axis of the scan, 0 to 1; in 2D that of its
    slice. ``scan`` ``(B,)`` int64: a number of the scan, the same in every loader, process and training.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._positions: list[float] = []

    def get_bbox(self, data_shape: Any, *args: Any, **kwargs: Any) -> Any:
        """nnU-Net's own box; its position is noted."""
        box = super().get_bbox(data_shape, *args, **kwargs)
        self._positions.append(position(box[0][0], box[1][0], data_shape[0]))
        return box

    def generate_train_batch(self) -> dict[str, Any]:
        """nnU-Net's own batch, and the notes."""
        self._positions = []
        batch: dict[str, Any] = super().generate_train_batch()
        scans = [number_of(case) for case in batch["keys"]]
        return {**batch, "position": torch.tensor(self._positions), "scan": torch.tensor(scans)}


def position(first: int, end: int, slices: int) -> float:
    """The centre of slices ``first`` to ``end`` - 1 among all of a scan, 0 to 1; patches may stick out."""
    return min(max((first + end) / 2 / slices, 0.0), 1.0)


def number_of(case: str) -> int:
    """A number for a name."""
    return zlib.crc32(case.encode())


def places(batch: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The two keys of a batch, where it has them, under names with a prefix."""
    found: Sequence[str] = [name for name in ("position", "scan") if name in batch]
    return {prefix + name: batch[name] for name in found}
