"""Locks that the system gives back whenever and however their holders end."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from noise_synthesis.safe_io.errors import InputError


@contextmanager
def locked(folder: Path, shared: bool = False) -> Iterator[int]:
    """Hold the folder's lock; yields what a command has to inherit so that the lock lasts while it lives.

    Args:
        shared: beside others who share it, but beside no one who holds it alone.

    Raises:
        InputError: another process has it, or the file system knows no locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        if not taken(file, shared):
            raise InputError(f"{folder}: another process still works in it; wait for its end, or end it")
        yield file.fileno()


def taken(file: IO[str], shared: bool = False) -> bool:
    """Lock an open file, unless another process holds it; closing it gives it back.

    Raises:
        InputError: the file system knows no locks.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise InputError(f"{file.name}: its file system cannot lock files ({error.strerror}); use another") from None
    return True
