"""All random state of a training in one place, so that a resumed run draws what the undisturbed one would have."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy's global generator (nnU-Net's loaders use it) and torch on all devices."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.manual_seed(seed)


def capture() -> dict[str, Any]:
    """Global generators as numbers, lists and tensors."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(state: Mapping[str, Any]) -> None:
    """Undo :func:`capture`. CUDA states are restored where the number of devices is the same."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])


@contextmanager
def preserved() -> Iterator[None]:
    """Leave the global generators as they were before the block, whatever it draws."""
    state = capture()
    try:
        yield
    finally:
        restore(state)


def generator(device: torch.device | str, seed: int | None, stream: int) -> torch.Generator:
    """A generator of its own for one purpose.

    Args:
        seed: None seeds it from the operating system.
        stream: Distinguishes generators of the same training.
    """
    made = torch.Generator(device=device)
    if seed is None:
        made.seed()
    else:
        made.manual_seed(seed * 1_000_003 + stream)
    return made


def worker_seeds(seed: tuple[int, ...] | None, count: int) -> list[int] | None:
    """A seed below 2**32 for each of ``count`` workers; other numbers in ``seed`` give other ones."""
    if seed is None:
        return None
    return [int(number) for number in np.random.SeedSequence(seed).generate_state(count)]
