"""CPU time of ways that take turns, so that a busy machine slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch


def in_turns(ways: dict[str, Callable[[], Any]], rounds: int, device: str = "cpu") -> dict[str, float]:
    """Seconds of the fastest run of every way; the first round, which makes what ways keep, does not count.

    CPU time on the CPU, which other programs disturb least, else wall time.
    """
    clock = time.perf_counter if device == "cuda" else time.process_time

    def once(way: Callable[[], Any]) -> float:
        start = clock()
        way()
        if device == "cuda":
            torch.cuda.synchronize()
        return clock() - start

    found = [{name: once(way) for name, way in ways.items()} for _ in range(rounds + 1)]
    return {name: min(seconds[name] for seconds in found[1:]) for name in ways}
