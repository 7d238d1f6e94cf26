"""One function over many cases, in several processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from noise_synthesis.safe_io.errors import InputError

Result = TypeVar("Result")
NNUNET_PROCESSES = "nnUNet_def_n_proc"
NNUNET_DEFAULT_PROCESSES = 8
BYTES_OF_A_START = 32 * 2**20
"""Of compressed images, which are read while a worker process starts and imports."""


def default_processes() -> int:
    """Return nnU-Net's default (8, or the environment variable nnUNet_def_n_proc), but no more than there are cores.

    Raises:
        InputError: the variable is no number.
    """
    wanted = os.environ.get(NNUNET_PROCESSES, str(NNUNET_DEFAULT_PROCESSES))
    if not wanted.strip().isdecimal():
        raise InputError(f"{NNUNET_PROCESSES}={wanted}: expected a number of processes, such as {cores()}")
    return max(1, min(int(wanted), cores()))


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_worth(processes: int, files: Iterable[Path]) -> int:
    """Return so many of ``processes`` that each reads for longer than it takes to start.

    Args:
        files: all that will be read.
    """
    total = sum(file.stat().st_size for file in files if file.is_file())
    return max(1, min(processes, total // BYTES_OF_A_START))


def over_cases(
    function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], processes: int, description: str
) -> list[Result]:
    """Return ``[function(*a) for a in arguments]``, computed by ``processes`` processes, with a progress bar.

    With one process everything happens in this one. The first exception stops the rest and is raised. Only the
    arguments and results travel between processes, so pass paths rather than arrays: then no more than ``processes``
    cases are in memory.
    """
    processes = min(processes, len(arguments))
    if processes <= 1:
        # The bar is closed before an exception goes on, so that the error has a line of its own.
        with tqdm(arguments, desc=description) as items:
            return [function(*item) for item in items]
    executor = ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    try:
        futures: list[Future[Result]] = [executor.submit(function, *item) for item in arguments]
        with tqdm(as_completed(futures), total=len(futures), desc=description) as finished:
            for future in finished:
                future.result()
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise InputError(
            f"a worker process ended abruptly while {description}, as it does when memory runs out: use fewer "
            f"processes than -np {processes}"
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Keep a worker to one thread, since the cases are the parallel dimension, and let it not outlive its parent."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent takes its workers along; else they would wait for work for ever, or write on for a while."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
