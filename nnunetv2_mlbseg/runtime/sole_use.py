"""A folder in which one process works at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noise_synthesis.safe_io.errors import InputError

NAME = ".in_use"


@contextmanager
def sole_use(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes out of ``folder`` while the block runs; the system lets go of it however a process ends.

    Processes that this one starts do not hold it. Where neither the system nor the file system knows locks, the block
    runs without.

    Args:
        what: What works there, for the message.

    Raises:
        InputError: another process works there.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(folder / NAME, "w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise InputError(f"{folder}: another {what} works in it; wait for its end, or end it") from None
        except OSError:
            pass
        yield
