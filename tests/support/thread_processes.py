"""Processes that train together, played by threads: whoever misses a meeting, or comes to one too many, is found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.runtime.processes import Processes


class Meeting:
    """Where threads that stand for processes meet; one that stays away breaks it for the other."""

    def __init__(self, count: int):
        self.barrier = threading.Barrier(count, timeout=20)
        self.values: list[Any] = [None] * count


@dataclass(frozen=True)
class Threads(Processes):
    """Processes that are threads."""

    meeting: Meeting = None  # type: ignore[assignment]

    def gather(self, value: Any) -> list[Any]:
        self.meeting.values[self.rank] = value
        self.wait()
        found = list(self.meeting.values)
        self.wait()
        return found

    def wait(self) -> None:
        self.meeting.barrier.wait()

    def total(self, value: Tensor) -> Tensor:
        return torch.stack(self.gather(value.detach())).sum(0)

    def average(self, gradient: Sequence[Tensor | None]) -> list[Tensor | None]:
        both = zip(*self.gather(list(gradient)), strict=True)
        return [None if found[0] is None else torch.stack(found).mean(0) for found in both]

    def copy_from_first_(self, network: nn.Module) -> None:
        """Nothing to do: what is made in one thread from one seed is the same."""


def two() -> list[Threads]:
    """The first and the second of two processes."""
    meeting = Meeting(2)
    return [Threads(rank, 2, meeting=meeting) for rank in range(2)]


def at_once(work: Callable[..., Any], *things: Iterable[Any]) -> list[Any]:
    """What the work gives for the first and the second of two things, in threads that may wait for each other."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, *things))


def in_two(work: Callable[[Threads], Any]) -> list[Any]:
    """What the work gives in the first and in the second of two processes."""
    return at_once(work, two())
