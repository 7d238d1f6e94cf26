"""One clear line instead of a traceback when nnU-Net's own commands meet one of our errors."""

from __future__ import annotations

import errno
import os
import sys
from types import TracebackType

from noise_synthesis.safe_io.errors import InputError, describe_os_error

# What a disk does to a training that was well; a missing or forbidden file may as well be a mistake at the start.
OF_THE_DISK = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO")}
OF_FILES = OF_THE_DISK | {errno.EACCES, errno.EPERM, errno.ENOENT}
AFTERWARDS = "Checkpoints and generated labels written before are whole: mend the cause, then go on with --c"
DEBUG_VARIABLE = "MLBSEG_DEBUG"


class UnsupportedError(NotImplementedError):
    """A combination that nnU-Net offers and MLB-Seg does not; the message says what to use instead."""


class TrainingStoppedError(RuntimeError):
    """A training that cannot go on by itself; the message says why, and what is on disk."""


def install() -> None:
    """Print our errors, and those of disks and files, as one line on stderr when they end the process.

    ``MLBSEG_DEBUG=1`` keeps the traceback. nnU-Net's entry points offer no place for this; other exceptions go to the
    hook that was there before.
    """
    previous = sys.excepthook
    if getattr(previous, "_mlbseg", False) or os.environ.get(DEBUG_VARIABLE, "0") == "1":
        return

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if isinstance(error, (InputError, UnsupportedError, TrainingStoppedError)):
            print(f"mlbseg: error: {error}", file=sys.stderr)
        elif isinstance(error, OSError) and error.errno in OF_FILES:
            then = f". {AFTERWARDS}" if error.errno in OF_THE_DISK else ""
            print(f"mlbseg: error: {describe_os_error(error)}{then}", file=sys.stderr)
        else:
            previous(kind, error, traceback)

    hook._mlbseg = True  # type: ignore[attr-defined]
    sys.excepthook = hook
