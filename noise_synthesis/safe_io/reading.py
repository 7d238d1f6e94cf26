"""The one way to read an image or label file: whole, by any library, with an error that fits in one line."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import SimpleITK as sitk

from noise_synthesis.safe_io.damage import refuse_damaged
from noise_synthesis.safe_io.errors import InputError

Result = TypeVar("Result")


def read_files(read: Callable[[list[str]], Result], paths: Sequence[Path]) -> Result:
    """Return what ``read`` makes of files that are whole; what it prints is kept from the terminal.

    Args:
        read: A library's function from file names to anything.
        paths: The files of one case.

    Raises:
        InputError: a file is missing, damaged (see :func:`refuse_damaged`) or unreadable; the line names it.
    """
    for path in paths:
        refuse_damaged(path)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), _without_warnings():
            return read([str(path) for path in paths])
    except Exception as error:  # the libraries let through whatever they are made of
        # Of channels that do not fit together nnU-Net prints the reason and raises an error without a word.
        printed = [line.strip() for line in said.getvalue().splitlines() if line.strip()]
        reason = last_line(error) if str(error) or not printed else printed[0][:200]
        culprit = next((path for path in paths if str(path) in str(error)), paths[0])
        raise InputError(f"{culprit}: cannot be read ({reason})") from None


def read_image(path: Path) -> sitk.Image:
    """Read any format that SimpleITK knows.

    Raises:
        InputError: missing, damaged or unknown; one line that names the file.
    """
    return read_files(lambda names: sitk.ReadImage(names[0]), [path])


def last_line(error: Exception) -> str:
    """The last line of an error of ITK, which says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep ITK's warnings, some per file, off the terminal; errors are raised all the same."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
