"""How far a training is, made up."""

from __future__ import annotations

from typing import Any

import torch

STATE: dict[str, Any] = {
    "config": {"seed": 1, "momentum": 0.9},
    "roles": {"clean": ("c0",), "noisy": ("n0",), "unlabeled": (), "validation": ("v0",)},
    "stage": "bootstrapping",
    "own_network": False,
    "ema_step": 7,
    "epoch_log": {"warmup": [0.5, None]},
    "generated_by": "0123",
    "random_state": {"torch": torch.get_rng_state()},
    "partial_epoch": None,
    "generators": {"views": torch.get_rng_state()},
}
"""The arguments of a `RunState` without heads, whose method remembers nothing."""
