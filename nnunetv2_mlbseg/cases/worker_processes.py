"""Batches made by worker processes: started, waited for, ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from batchgenerators.dataloading.data_loader import SlimDataLoaderBase
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

from nnunetv2_mlbseg.runtime.orphans import EndsWithParent
from nnunetv2_mlbseg.runtime.stop_request import StopRequest

Augmenter: TypeAlias = SingleThreadedAugmenter | NonDetMultiThreadedAugmenter
"""What draws batches from a loader: in this process, or in worker processes."""

LONGEST_WAIT_FOR_THREAD = 2.0
"""Seconds; the thread looks for dead workers every few milliseconds."""


def augmenter(
    loader: SlimDataLoaderBase, processes: int, cached: int, seeds: list[int] | None, pin_memory: bool
) -> Augmenter:
    """Draw from ``loader`` in worker processes, or in this one for 0; they start with the first batch.

    Args:
        cached: Number of batches that are made ahead.
        seeds: One per worker process; None leaves them to the operating system.
    """
    if processes == 0:
        return SingleThreadedAugmenter(loader, None)
    return NonDetMultiThreadedAugmenter(
        data_loader=EndsWithParent(loader),
        transform=None,
        num_processes=processes,
        num_cached=cached,
        seeds=seeds,
        pin_memory=pin_memory,
        wait_time=0.002,
    )


class InterruptibleLoader(Iterator[Any]):
    """Draws from ``loader`` and tells ``stop`` while a batch is waited for. All else is as in ``loader``.

    SIGTERM may have ended the workers, so a wait for them may have no end: it is given up
    (:meth:`StopRequest.wait_for_batches`).
    """

    def __init__(self, loader: Augmenter, stop: StopRequest):
        self.loader = loader
        self.stop = stop

    def __next__(self) -> Any:
        """The next batch.

        Raises:
            StoppedBetweenStepsError: SIGTERM has come, or comes meanwhile, and workers make the batches.
        """
        self.stop.wait_for_batches(has_workers(self.loader))
        try:
            return next(self.loader)
        finally:
            self.stop.waiting = False

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # not yet set
            raise AttributeError(name)
        return getattr(self.loader, name)


Batches: TypeAlias = Augmenter | InterruptibleLoader
"""What a training draws from."""


def has_workers(batches: Batches | None) -> bool:
    """Whether the batches come from other processes."""
    return isinstance(_augmenter_of(batches), NonDetMultiThreadedAugmenter)


def close(*batches: Batches | None) -> None:
    """Stop the worker processes, if there are any."""
    for found in map(_augmenter_of, batches):
        if isinstance(found, NonDetMultiThreadedAugmenter):
            found._finish()


def abandon(*batches: Batches | None) -> None:
    """Kill the worker processes. Unlike :func:`close` it takes no lock that a dead worker may hold.

    The thread that collects their batches ends when it finds them dead. It is waited for: Python aborts (SIGABRT) if it
    ends while a thread unpickles tensors. A thread that still runs after `LONGEST_WAIT_FOR_THREAD` waits for such a
    lock, which does no harm.
    """
    for found in map(_augmenter_of, batches):
        if isinstance(found, NonDetMultiThreadedAugmenter):
            for process in found._processes:
                process.kill()
            if found.results_loop_thread is not None:
                found.results_loop_thread.join(LONGEST_WAIT_FOR_THREAD)


def _augmenter_of(batches: Batches | None) -> Augmenter | None:
    return batches.loader if isinstance(batches, InterruptibleLoader) else batches
