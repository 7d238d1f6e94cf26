"""Image files that are cut short or damaged, found before a library reads them: many fill up with zeros in silence."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from noise_synthesis.safe_io.errors import InputError

NIFTI = (".nii", ".nii.gz")

_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 16  # deflate unpacks it to 1032 times as much at most, 64 MiB
_SMALLEST_HEADER, _LARGEST_HEADER = 348, 540  # bytes of NIfTI-1 and NIfTI-2
_GIPL_HEADER = 256
_GIPL_BYTES = {7: 1, 8: 1, 15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8}  # by the type that the header names


class NotFiniteError(InputError):
    """An image file holds NaN or infinite values."""


def not_finite(path: Path) -> NotFiniteError:
    """The error of a file that holds such values."""
    return NotFiniteError(f"{path}: holds NaN or infinite values; replace them by numbers that make sense")


def refuse_damaged(path: Path) -> None:
    """Read an image file to its end and hold it against its header and checksum.

    ====================  ===================================================================================
    ``.gz``               every member's checksum; as ITK does, a file that does not begin as gzip does is
                          taken for one that is not compressed, and what follows the last member is ignored
    ``.nii``, ``.nii.gz`` as many bytes as the header says; no NaN or infinity, which ITK's reader turns to 0
    ``.mha``              the checksum of compressed voxels, which ITK does not look at
    ``.gipl``             as many bytes as the header says
    others                nothing: their libraries notice that a file is cut
    ====================  ===================================================================================

    Raises:
        InputError: no plain file, cut short, or damaged. ``NotFiniteError`` for values that are no numbers.
    """
    if not path.is_file():  # a pipe would be waited for without end
        raise InputError(f"{path}: no such file")
    name = path.name.lower()
    try:
        if name.endswith(NIFTI):
            _check_nifti(path)
        elif name.endswith(".gz"):
            for _ in unpacked(path):
                pass
        elif name.endswith(".mha"):
            _check_mha(path)
        elif name.endswith(".gipl"):
            _check_gipl(path)
    except (EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read, damaged or cut short ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip does, whatever its name."""
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def unpacked(path: Path) -> Iterator[bytes]:
    """The bytes in the members of a gzip file, checksums verified; those of the file where it is none.

    Raises:
        EOFError, zlib.error: a member is cut short or damaged.
    """
    compressed = is_gzip(path)
    with path.open("rb") as file:
        block = file.read(_BLOCK)
        if not compressed:
            while block:
                yield block
                block = file.read(_BLOCK)
            return
        member = _member()
        while block:
            yield member.decompress(block)
            block = member.unused_data
            if len(block) < len(_GZIP):
                block += file.read(_BLOCK)
            if member.eof:
                if not block.startswith(_GZIP):
                    return
                member = _member()
    raise EOFError("ends before its checksum")


def _member() -> Any:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # gzip's header and checksum


def _check_nifti(path: Path) -> None:
    parts, held, total = unpacked(path), b"", 0
    while len(held) < _LARGEST_HEADER and (part := next(parts, None)) is not None:
        held += part
    if len(held) < _SMALLEST_HEADER:
        raise EOFError("ends within its header")
    header = _nifti_header(held)
    if header is None:  # whoever reads the image judges what this is
        for _ in parts:
            pass
        return
    kind, start = header.get_data_dtype(), max(int(header["vox_offset"]), int(header["sizeof_hdr"]))
    floats = kind.kind == "f" and kind.itemsize <= 8
    total, rest = len(held), held[start:]
    for part in parts:
        if floats:
            rest = _without_whole_numbers(path, rest + part, kind)
        total += len(part)
    if floats:
        _without_whole_numbers(path, rest, kind)
    expected = start + math.prod(header.get_data_shape()) * kind.itemsize
    if total < expected:
        raise EOFError(f"{total:,} bytes of {expected:,}")


def _nifti_header(beginning: bytes) -> Any:
    """The header, or None where there is none that could be one."""
    for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        length = kind.template_dtype.itemsize
        if len(beginning) >= length:
            header = kind(beginning[:length], check=False)
            if int(header["sizeof_hdr"]) == length and bytes(header["magic"])[:1] == b"n":
                return header
    return None


def _without_whole_numbers(path: Path, data: bytes, kind: np.dtype) -> bytes:
    """Look at all whole values in ``data``; return the bytes of the last one that is not there completely."""
    whole = len(data) // kind.itemsize * kind.itemsize
    if not np.isfinite(np.frombuffer(data[:whole], kind)).all():
        raise not_finite(path)
    return data[whole:]


def _check_mha(path: Path) -> None:
    with path.open("rb") as file:
        about = {}
        for line in iter(lambda: file.readline(4096), b""):
            key, _, value = line.decode("latin-1").partition("=")
            about[key.strip().lower()] = value.strip()
            if "elementdatafile" in about:
                break
        if about.get("elementdatafile") != "LOCAL" or about.get("compresseddata", "").lower() != "true":
            return
        data = zlib.decompressobj()
        while not data.eof:
            block = file.read(_BLOCK)
            if not block:
                raise EOFError("ends before its checksum")
            data.decompress(block)


def _check_gipl(path: Path) -> None:
    if is_gzip(path):
        return
    with path.open("rb") as file:
        header = file.read(_GIPL_HEADER)
    if len(header) < _GIPL_HEADER:
        raise EOFError("ends within its header")
    *sizes, kind = np.frombuffer(header[:10], ">u2").tolist()
    expected = _GIPL_HEADER + math.prod(max(size, 1) for size in sizes) * _GIPL_BYTES.get(kind, 0)
    if path.stat().st_size < expected:
        raise EOFError(f"{path.stat().st_size:,} bytes of {expected:,}")
