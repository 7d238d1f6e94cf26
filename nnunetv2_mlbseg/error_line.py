"""One clear line instead of a traceback when nnU-Net's own commands meet one of our errors."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from noise_synthesis.errors import InputError

DEBUG_VARIABLE = "MLBSEG_DEBUG"


class UnsupportedError(NotImplementedError):
    """A combination that nnU-Net offers and MLB-Seg does not; the message says what to use instead."""


def install() -> None:
    """Print our errors as one line on stderr when they end the process. ``MLBSEG_DEBUG=1`` keeps the traceback.

    nnU-Net's entry points offer no place for this; other exceptions go to the hook that was there before.
    """
    previous = sys.excepthook
    if getattr(previous, "_mlbseg", False) or os.environ.get(DEBUG_VARIABLE, "0") == "1":
        return

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if isinstance(error, (InputError, UnsupportedError)):
            print(f"mlbseg: error: {error}", file=sys.stderr)
        else:
            previous(kind, error, traceback)

    hook._mlbseg = True  # type: ignore[attr-defined]
    sys.excepthook = hook
