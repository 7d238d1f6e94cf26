"""How many threads torch uses for a training on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

VARIABLE = "OMP_NUM_THREADS"


def use_requested_threads(device: torch.device) -> None:
    """On the CPU take OMP_NUM_THREADS seriously, if it is a whole number above 0.

    ``nnUNetv2_train -device cpu`` asks torch for as many threads as the machine has cores, whatever the variable says
    (nnunetv2 2.8.1, run_training.py), so that two trainings side by side hold each other up. OMP_THREAD_LIMIT is no
    way out: with it, the backward pass of a convolution never ends (torch 2.14).
    """
    value = os.environ.get(VARIABLE, "")
    if device.type == "cpu" and value.isdecimal() and int(value) > 0:
        torch.set_num_threads(int(value))


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch uses one thread inside of the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
