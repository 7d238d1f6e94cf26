"""Image files written whole: ITK's writers say nothing when a disk is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import SimpleITK as sitk

from noise_synthesis.safe_io.damage import NotFiniteError, refuse_damaged
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.reading import last_line


def write_whole(image: sitk.Image, path: str | os.PathLike[str], compress: bool = True) -> None:
    """Write an image by SimpleITK and make sure that it got to the disk.

    Raises:
        OSError: it did not.
    """
    try:
        sitk.WriteImage(image, os.fspath(path), useCompression=compress)
    except RuntimeError as error:
        raise OSError(errno.EIO, f"cannot be written ({last_line(error)})", os.fspath(path)) from None
    refuse_incomplete(path)


def refuse_incomplete(path: str | os.PathLike[str]) -> None:
    """Raise ``OSError`` if an image file that a library has just written lacks something of what its header says."""
    try:
        refuse_damaged(Path(path))
    except NotFiniteError:
        return
    except InputError:
        raise OSError(errno.EIO, "was not written completely; is the disk full?", os.fspath(path)) from None
