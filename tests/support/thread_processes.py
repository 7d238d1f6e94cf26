"""Processes that train together, played by threads: whoever misses a meeting, or comes to one too many, is found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

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


def in_two(work: Callable[[Threads], Any]) -> list[Any]:
    """What the work gives in the first and in the second of two processes."""
    meeting = Meeting(2)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, [Threads(rank, 2, meeting=meeting) for rank in range(2)]))
