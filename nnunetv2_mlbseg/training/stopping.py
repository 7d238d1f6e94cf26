"""SIGTERM in a training: it ends between two iterations, with all that ``--c`` needs on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

from nnunetv2_mlbseg.cases.worker_processes import Batches, abandon, close
from nnunetv2_mlbseg.progress.epoch import Epoch
from nnunetv2_mlbseg.runtime.stop_request import StoppedBetweenStepsError, StopRequest
from nnunetv2_mlbseg.training.learning import Learning


class Interruptible(Protocol):
    """What a training shows of itself to be stopped."""

    dataloader_train: Batches | None
    dataloader_val: Batches | None
    learning: Learning

    def stop_if_asked(self) -> None:
        """Save and end the process, if SIGTERM came."""


class Stopping:
    """Ends a training that was asked to end.

    Args:
        listens: Whether this process takes the signal over. Several processes would have to agree on when to stop.
        save: Writes the checkpoint that ``--c`` goes on from; told whether the present epoch is complete.
        report: Takes the line for the log.
    """

    def __init__(self, listens: bool, save: Callable[[bool], str], report: Callable[[str], None]):
        self.request = StopRequest()
        self.listens, self.save, self.report = listens, save, report

    def if_asked(self, epoch: Epoch, number: int, complete: bool = False) -> None:
        """Between iterations, or after an epoch: if SIGTERM came, save, and end the process.

        Args:
            number: Of the epoch.

        Raises:
            SystemExit: it came.
        """
        if not self.request.requested:
            return
        then = self.save(complete)
        self.report(f"Stopped by SIGTERM in epoch {number} after iteration {epoch.done} of {epoch.iterations}; {then}")
        self.request.exit()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signal over inside of the block, if this process does."""
        with self.request.listening() if self.listens else nullcontext():
            yield

    @contextmanager
    def around(self, training: Interruptible) -> Iterator[None]:
        """Enclose a whole training: it ends where its state is whole, and its worker processes end with it."""
        with self.listening():
            try:
                yield
            except StoppedBetweenStepsError:
                training.stop_if_asked()
            except RuntimeError:
                # A signal to all processes at once ends the workers first, and nnU-Net's loader fails without them.
                if not self.request.requested or training.learning.guard.within_step:
                    raise
                training.stop_if_asked()
            finally:
                end = abandon if self.request.requested else close
                end(training.dataloader_train, training.dataloader_val)
            if self.request.requested:
                self.request.exit()
