"""All random state of a training in one place, so that a resumed run draws what the undisturbed one would have."""

from __future__ import annotations

import random
import zlib
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


STREAMS = {"views": 1, "noise": 2}
"""Numbers of the streams that trainings have always had; others get one from their name."""


class Generators:
    """A training's own random generators, by purpose, so that one purpose does not disturb another.

    Args:
        seed: None seeds them from the operating system.
        device: Where the training runs.
    """

    def __init__(self, seed: int | None, device: torch.device):
        self.device = device
        self.seed_(seed)

    def seed_(self, seed: int | None) -> None:
        """Begin all of them anew."""
        self.seed = seed
        self._made: dict[str, torch.Generator] = {}
        self._stored: dict[str, torch.Tensor] = {}

    def on_host(self, purpose: str) -> torch.Generator:
        """One that draws on the CPU, the same numbers wherever the training runs."""
        return self._get(purpose, purpose, torch.device("cpu"))

    def on_device(self, purpose: str) -> torch.Generator:
        """One that draws where the training runs, which spares a copy in every step."""
        return self._get(f"{purpose} on {self.device.type}", purpose, self.device)

    def states(self) -> dict[str, torch.Tensor]:
        """For a checkpoint."""
        return self._stored | {key: made.get_state() for key, made in self._made.items()}

    def set_states(self, states: Mapping[str, torch.Tensor]) -> None:
        """Undo :meth:`states`. What was drawn on another kind of device goes on afresh."""
        self._made = {}
        self._stored = {key: state.cpu() for key, state in states.items()}

    def _get(self, key: str, purpose: str, device: torch.device) -> torch.Generator:
        if key not in self._made:
            stream = STREAMS.get(purpose, zlib.crc32(purpose.encode()))
            self._made[key] = generator(device, self.seed, stream)
            if key in self._stored:
                self._made[key].set_state(self._stored.pop(key))
        return self._made[key]
