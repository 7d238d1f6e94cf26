"""Image files that are cut short or damaged: ITK reads and writes them without a word, and fills up with zeros."""

from __future__ import annotations

import errno
import math
import os
import zlib
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from noise_synthesis.safe_io.errors import InputError

HEADER_BYTES = 352
"""Of a NIfTI-1 file, before the first voxel."""

_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 16  # deflate unpacks it to 1032 times as much at most, 64 MiB


def refuse_damaged_gzip(path: str | os.PathLike[str]) -> None:
    """Read a ``.gz`` file to its checksum; ITK stops before it, so that damage goes unnoticed. Others are let pass.

    As ITK does, this takes a file that does not begin as gzip does for one that is not compressed, and ignores what
    follows the last member; whoever reads the image judges the former.

    Raises:
        InputError: no plain file, cut short, or damaged.
    """
    path = Path(path)
    if path.suffix != ".gz":
        return
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        _unpacked_bytes(path)
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read, damaged or cut short ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip does, whatever its name."""
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def write_whole(image: sitk.Image, path: str | os.PathLike[str], compress: bool = True) -> None:
    """Write an image by SimpleITK and make sure that it got to the disk.

    Raises:
        OSError: it did not; ITK's NIfTI writer says nothing when a disk is full.
    """
    try:
        sitk.WriteImage(image, os.fspath(path), useCompression=compress)
    except RuntimeError as error:
        raise OSError(errno.EIO, f"cannot be written ({last_line(error)})", os.fspath(path)) from None
    expected = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * image.GetSizeOfPixelComponent()
    _refuse_short(Path(path), expected)


def last_line(error: Exception) -> str:
    """The last line of an error of ITK, which says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


def refuse_short_nifti(path: str | os.PathLike[str]) -> None:
    """Raise ``OSError`` if a NIfTI file that another library has just written lacks voxels; other formats are let pass.

    A file so short that it has no header is refused as well.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        return
    reader = sitk.ImageFileReader()
    reader.SetFileName(os.fspath(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise _short(path) from None
    components = reader.GetNumberOfComponents()
    bytes_each = sitk.Image([1, 1], reader.GetPixelID(), components).GetSizeOfPixelComponent()
    _refuse_short(path, math.prod(reader.GetSize()) * components * bytes_each)


def _refuse_short(path: Path, expected_bytes: int) -> None:
    if not path.name.endswith((".nii", ".nii.gz")):
        return
    try:
        written = _unpacked_bytes(path) if path.suffix == ".gz" else path.stat().st_size
    except (EOFError, zlib.error):
        written = 0
    if written < HEADER_BYTES + expected_bytes:
        raise _short(path)


def _short(path: Path) -> OSError:
    return OSError(errno.EIO, "was not written completely; is the disk full?", os.fspath(path))


def _unpacked_bytes(path: Path) -> int:
    """Bytes in the members of a gzip file, checksums verified; the size of a file that is none.

    Raises:
        EOFError, zlib.error: a member is cut short or damaged.
    """
    if not is_gzip(path):
        return path.stat().st_size
    total = 0
    with path.open("rb") as file:
        block = file.read(_BLOCK)
        member = _member()
        while block:
            total += len(member.decompress(block))
            block = member.unused_data
            if len(block) < len(_GZIP):
                block += file.read(_BLOCK)
            if member.eof:
                if not block.startswith(_GZIP):
                    return total
                member = _member()
    raise EOFError("ends before its checksum")


def _member() -> Any:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # gzip's header and checksum
