"""Augmentation workers that end when their training is killed; left alone they would wait for it for ever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

from batchgenerators.dataloading.data_loader import SlimDataLoaderBase

LOOK_EVERY_S = 1.0


class EndsWithParent(Iterator[Any]):
    """A loader, for a worker process: a thread of it watches whether the parent is still the same.

    Args:
        loader: What the worker draws from.

    To be made in the parent: a worker that asks for it later may have been orphaned before.
    """

    def __init__(self, loader: SlimDataLoaderBase):
        self.loader = loader
        self.parent = os.getpid()

    def set_thread_id(self, thread_id: int) -> None:
        """Called by batchgenerators as the first thing in a worker."""
        self.loader.set_thread_id(thread_id)
        threading.Thread(target=end_with_parent, args=(self.parent,), daemon=True).start()

    def __next__(self) -> Any:
        return next(self.loader)


def end_with_parent(parent: int) -> None:
    """Return never; end this process once ``parent`` is no longer the process that it belongs to."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)
