"""Batches from worker processes: they come, the wait for them can be given up, and the processes end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from batchgenerators.dataloading.data_loader import SlimDataLoaderBase
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter

from nnunetv2_mlbseg.cases.worker_processes import InterruptibleLoader, abandon, augmenter, close, has_workers
from nnunetv2_mlbseg.runtime.stop_request import StoppedBetweenStepsError, StopRequest


class _Pids(SlimDataLoaderBase):
    """Every batch is the number of the process that makes it."""

    def __init__(self) -> None:
        super().__init__(None, 1, None)

    def generate_train_batch(self) -> dict[str, int]:
        return {"pid": os.getpid()}


class _Workers(NonDetMultiThreadedAugmenter):
    """Stands for worker processes: ``draw`` is called instead of a wait for them."""

    def __init__(self, draw: Callable[[], Any]):
        self.draw, self.initialized, self._processes = draw, False, []

    def __next__(self) -> Any:
        return self.draw()


def _term() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def stop():
    """Listening, within an epoch."""
    request = StopRequest()
    with request.listening():
        request.deferred = True
        yield request


def test_without_worker_processes_this_one_makes_the_batches():
    batches = augmenter(_Pids(), 0, 3, None, False)
    assert isinstance(batches, SingleThreadedAugmenter) and not has_workers(batches) and not has_workers(None)
    assert next(batches) == {"pid": os.getpid()}
    close(batches)
    abandon(batches)
    assert next(batches) == {"pid": os.getpid()}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of killed workers
@pytest.mark.parametrize("end", [close, abandon])
def test_worker_processes_make_the_batches_and_end(end, stop):
    batches = InterruptibleLoader(augmenter(_Pids(), 2, 2, [1, 2], False), stop)
    assert has_workers(batches) and has_workers(batches.loader)
    assert next(batches)["pid"] != os.getpid()
    workers, collects = list(batches.loader._processes), batches.loader.results_loop_thread
    assert len(workers) == 2 and all(worker.is_alive() for worker in workers)
    end(batches)
    assert not collects.is_alive()
    for worker in workers:
        worker.join(10)
    assert not any(worker.is_alive() for worker in workers)
    close(batches)
    end(None)


def test_the_wait_is_marked_while_workers_are_waited_for_and_no_longer(stop):
    batches = InterruptibleLoader(_Workers(lambda: stop.waiting), stop)
    assert not stop.waiting
    assert next(batches) is True and not stop.waiting
    assert next(iter(batches)) is True and not stop.waiting


def test_a_batch_made_in_this_process_is_no_wait(stop):
    class Loader:
        def __next__(self):
            _term()
            return stop.waiting

    assert next(InterruptibleLoader(SingleThreadedAugmenter(Loader(), None), stop)) is False
    assert stop.requested


def test_a_signal_ends_the_wait_for_workers(stop):
    with pytest.raises(StoppedBetweenStepsError):
        next(InterruptibleLoader(_Workers(_term), stop))
    assert stop.requested and not stop.waiting


def test_after_a_signal_no_worker_is_waited_for(stop):
    _term()
    with pytest.raises(StoppedBetweenStepsError):
        next(InterruptibleLoader(_Workers(lambda: pytest.fail("waited")), stop))
    assert not stop.waiting


def test_dead_workers_are_told_as_they_are_and_the_wait_is_over(stop):
    def die():
        raise RuntimeError("One or more background workers are no longer alive.")

    with pytest.raises(RuntimeError, match="no longer alive"):
        next(InterruptibleLoader(_Workers(die), stop))
    assert not stop.waiting
    _term()  # is heard, and raises nothing while a checkpoint is saved
    assert stop.requested


def test_everything_else_is_asked_of_the_loader(stop):
    batches = InterruptibleLoader(augmenter(_Pids(), 0, 3, None, False), stop)
    assert batches.data_loader.batch_size == 1
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = batches.nothing_like_it
