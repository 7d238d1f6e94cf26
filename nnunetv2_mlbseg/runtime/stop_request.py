"""SIGTERM, which a cluster's scheduler sends before it kills: end soon, and lose nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
"""143: what a shell reports for a process that SIGTERM ended, so that nobody takes the training for finished."""


class StoppedBetweenStepsError(BaseException):
    """The signal came while the training waited for a batch; its state is whole."""


class StopRequest:
    """Whether this process was asked to end.

    While `deferred` is true the signal only sets `requested`, and whoever set `deferred` ends the process where its
    state is whole; while ``waiting`` is true as well, `StoppedBetweenStepsError` is raised there, since what is waited
    for may never come: the signal may have ended the workers. At other times `SystemExit` is raised at once.
    """

    def __init__(self) -> None:
        self.requested = False
        self.deferred = False
        self.waiting = False
        self._process = os.getpid()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signal over; only the main thread can, elsewhere nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._process = os.getpid()
        before = signal.signal(signal.SIGTERM, self._handle)
        of_threads = threading.excepthook
        # The thread that collects the workers' batches complains when they are gone; then they are meant to be.
        threading.excepthook = lambda found: None if self.requested else of_threads(found)
        try:
            yield
        finally:
            self.deferred = False
            signal.signal(signal.SIGTERM, before)
            if not self.requested:
                threading.excepthook = of_threads

    def wait_for_batches(self, of_workers: bool) -> None:
        """Say that the next batch is waited for; whoever has it sets `waiting` to false.

        Raises:
            StoppedBetweenStepsError: the signal comes meanwhile, or has come already, and workers make the batches.
        """
        self.waiting = of_workers
        if self.requested and self.waiting:
            self.waiting = False
            raise StoppedBetweenStepsError

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Suspend `deferred`, for work that needs no farewell.

        Raises:
            SystemExit: the signal has come already, or comes meanwhile.
        """
        before, self.deferred = self.deferred, False
        if self.requested:
            self.exit()
        yield
        self.deferred = before

    def exit(self) -> None:
        """End the process.

        Raises:
            SystemExit: always, with `EXIT_CODE`.
        """
        raise SystemExit(EXIT_CODE)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked worker has inherited this; it shall simply end
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.requested = True
        if self.deferred and self.waiting:
            self.waiting = False
            raise StoppedBetweenStepsError
        if not self.deferred:
            os.write(2, b"mlbseg: stopped by SIGTERM\n")  # print is not safe in a signal handler
            self.exit()
