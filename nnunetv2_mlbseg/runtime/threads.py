"""How torch uses threads and memory for a training on the CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

VARIABLE = "OMP_NUM_THREADS"

PAGES = "THP_MEM_ALLOC_ENABLE"
"""torch reads it when it makes its first tensor (torch 2.14): whether large ones are asked for in large pages."""


def prepare_cpu(device: torch.device) -> None:
    """Threads and memory as a training on the CPU needs them; nothing on other devices."""
    use_requested_threads(device)
    use_large_pages(device)


def use_requested_threads(device: torch.device) -> None:
    """On the CPU take OMP_NUM_THREADS seriously, if it is a whole number above 0.

    ``nnUNetv2_train -device cpu`` asks torch for as many threads as the machine has cores, whatever the variable says
    (nnunetv2 2.8.1, run_training.py), so that two trainings side by side hold each other up. OMP_THREAD_LIMIT is no
    way out: with it, the backward pass of a convolution never ends (torch 2.14).
    """
    value = os.environ.get(VARIABLE, "")
    if device.type == "cpu" and value.isdecimal() and int(value) > 0:
        torch.set_num_threads(int(value))


def use_large_pages(device: torch.device) -> None:
    """On the CPU ask for new memory in pages of 2 MB instead of 4 KB, unless the variable says otherwise.

    Memory of a tensor beyond 32 MB goes back to Linux with the tensor, and comes again page by page. Maps of a hundred
    classes are as large as that, and their pages take longer than the formulas. Other systems ignore it.
    """
    if device.type == "cpu":
        os.environ.setdefault(PAGES, "1")


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch uses one thread inside of the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
