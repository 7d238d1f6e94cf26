"""Trainings in forked processes: `nnUNetv2_train` without its ten seconds of imports, so that many can be killed.

The forked process runs nnU-Net's own entry point with the arguments a user would type. Import this module before
anything of nnU-Net: some of its settings are read from the environment on import.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

ON_IMPORT = {
    "nnUNet_def_n_proc": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_THREADER": "Platform",  # ITK's own pool of threads does not survive a fork
}
IN_PROCESS = {"nnUNet_n_proc_DA": "0"}  # for trainings only: nnU-Net's planner hangs with it
os.environ.update(ON_IMPORT)

import multiprocessing.dummy  # noqa: E402 (before a process may lose the right to read it)
import multiprocessing.util  # noqa: E402
from multiprocessing.pool import ThreadPool  # noqa: E402

from nnunetv2.run.run_training import run_training_entry  # noqa: E402
from nnunetv2.training.logging.nnunet_logger import LocalLogger  # noqa: E402
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name  # noqa: E402
from training_support import TRAINER, Workspace  # noqa: E402

import nnunetv2_mlbseg.training.run as run_module  # noqa: E402
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod  # noqa: E402

Inside = Callable[[], None]
POLL_S = 0.002


class ThreadsForProcesses:
    """In place of a multiprocessing context: nnU-Net's final validation spawns processes, ten seconds each."""

    Pool = ThreadPool


class ForkedTraining:
    """A running training; its output goes to ``log``.

    Args:
        inside: Called in the forked process before the training starts, to plant a fault.
        validate: Whether nnU-Net's final validation runs.
    """

    def __init__(
        self,
        workspace: Workspace,
        *arguments: str,
        log: Path,
        inside: Inside | None = None,
        validate: bool = False,
        settings: dict[str, str] | None = None,
    ):
        self.log = log
        log.touch()
        self._start = log.stat().st_size
        command = ["nnUNetv2_train", "900", "2d_tiny", "0", "-tr", TRAINER, "-device", "cpu", *arguments]
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_the_training(
                {**workspace.env, **ON_IMPORT, **IN_PROCESS, **(settings or {})}, command, log, inside, validate
            )
        self.code: int | None = None

    def output(self) -> str:
        """What this training has printed so far."""
        with self.log.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")

    def wait_for(self, words: str) -> bool:
        """Wait until ``words`` are printed; false if the training ends without."""
        while words not in self.output():
            if self._ended():
                return words in self.output()
            time.sleep(POLL_S)
        return True

    def send_after(self, seconds: float, number: int = signal.SIGKILL) -> bool:
        """Send a signal (0: none) after a while; false if the training ended before."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._ended():
                return False
            time.sleep(min(POLL_S, max(0.0, until - time.monotonic())))
        if self._ended():
            return False
        os.kill(self.pid, number)
        return True

    def wait(self, timeout_s: float = 120) -> int:
        """The exit code; the negative signal number if a signal ended it.

        Raises:
            TimeoutError: it has not ended in time (it is killed then).
        """
        until = time.monotonic() + timeout_s
        while not self._ended():
            if time.monotonic() > until:
                os.killpg(self.pid, signal.SIGKILL)
                raise TimeoutError(f"the training did not end within {timeout_s} s:\n{self.output()[-2000:]}")
            time.sleep(POLL_S)
        assert self.code is not None
        return self.code

    def _ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None


def preload() -> None:
    """Import all that a training imports, once, before the first fork."""
    recursive_find_trainer_class_by_name(TRAINER)


def _be_the_training(env: dict[str, str], command: list[str], log: Path, inside: Inside | None, validate: bool) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = command
        multiprocessing.cpu_count = lambda: 1  # one thread of torch each
        multiprocessing.get_context = lambda method=None: ThreadsForProcesses
        LocalLogger.plot_progress_png = lambda self, folder: None  # pictures take longer than these epochs
        run_module.plot = lambda log, path, begins: None
        if not validate:
            nnUNetTrainerMethod.perform_actual_validation = lambda self, save_probabilities=False: None
        if inside is not None:
            inside()
        run_training_entry()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        multiprocessing.util._exit_function()
        sys.stdout.flush()
        os._exit(code)
