"""Sees every opening of a file in a folder, by whatever library and process: the kernel's own record (Linux)."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_OPEN, _ACCESS, _NONBLOCK = 0x20, 0x01, os.O_NONBLOCK
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows


class OpenedFiles:
    """Names of the files of ``folder`` that were opened or read since the last look."""

    def __init__(self, folder: Path):
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(_NONBLOCK)
        watch = libc.inotify_add_watch(self.descriptor, os.fsencode(folder), _OPEN | _ACCESS)
        assert self.descriptor >= 0 and watch >= 0, os.strerror(ctypes.get_errno())

    def __enter__(self) -> OpenedFiles:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def names(self) -> set[str]:
        """Forget them as well. Listing the folder itself counts as the empty name."""
        try:
            record = os.read(self.descriptor, 1 << 20)
        except BlockingIOError:
            return set()
        found, position = set(), 0
        while position < len(record):
            *_, length = _EVENT.unpack_from(record, position)
            position += _EVENT.size
            found.add(record[position : position + length].rstrip(b"\0").decode())
            position += length
        return found
