"""Writing files so that a reader never meets a half-written one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.text import read_text

MOST_BYTES = 64 * 2**20
"""Of a JSON file that is read; ten folds over a hundred thousand cases take a third of it."""

MOST_DEPTH = 32
"""Of lists and objects within each other; nnU-Net's own files have 6."""

_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\..")


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; rename it to ``target`` on success, remove it on failure.

    The temporary name keeps all suffixes of ``target`` (writers choose the format by them) and starts with a dot, so
    that no listing of cases picks it up.
    """
    target = Path(target)
    temporary = target.with_name(f".{uuid.uuid4().hex[:12]}.{target.name}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        if error.filename in (str(temporary), temporary):
            error.filename = str(target)  # the name that means something to a reader
        raise
    finally:
        with contextlib.suppress(OSError):  # on a read-only disk this fails as well, and the first error counts
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_files(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Like :func:`atomic_path`, for writers that put more files beside the one they are told, such as a spacing.

    They write into a hidden folder, from which all of it moves to the target's folder, the target last.
    """
    target = Path(target)
    folder = target.with_name(f".{uuid.uuid4().hex[:12]}.{target.name}")
    folder.mkdir()
    try:
        yield folder / target.name
        for made in sorted(folder.iterdir(), key=lambda path: path.name == target.name):
            os.replace(made, target.parent / made.name)
    except OSError as error:
        if error.filename in (str(folder / target.name), folder / target.name):
            error.filename = str(target)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(folder: str | os.PathLike[str]) -> list[str]:
    """Delete the temporary files and folders that killed processes left in ``folder``.

    Only one process may be writing there.

    Returns:
        Their names.
    """
    folder = Path(folder)
    found = sorted(path.name for path in folder.iterdir() if _TEMPORARY.match(path.name)) if folder.is_dir() else []
    for name in found:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
        else:
            (folder / name).unlink(missing_ok=True)
    return found


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write ``content`` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, unreadable, no plain file, larger than `MOST_BYTES`, or what `parse_json`
            refuses; the line names the file and the place.
    """
    path = Path(path)
    try:
        mode = path.stat()
        if not stat.S_ISREG(mode.st_mode):
            raise InputError(f"{path}: not a file, expected a file with JSON")
        if mode.st_size > MOST_BYTES:
            raise InputError(f"{path}: {mode.st_size} bytes, expected at most {MOST_BYTES} in a JSON file")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return parse_json(read_text(path), str(path))


def parse_json(text: str, where: str) -> Any:
    """Parse JSON of bounded depth in which no object names a key twice: of two values one would silently be lost.

    Args:
        where: file or variable, for the message.

    Raises:
        InputError: it is not that.
    """
    try:
        content = json.loads(text, object_pairs_hook=_no_key_twice)
        too_deep = _deeper_than(content, MOST_DEPTH)
    except _RepeatedKeyError as error:
        raise InputError(f"{where}: the key {error} occurs twice in one object") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not valid JSON ({error})") from None
    if too_deep:
        raise InputError(f"{where}: lists and objects nested more than {MOST_DEPTH} deep")
    return content


class _RepeatedKeyError(Exception):
    pass


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(key for i, (key, _) in enumerate(pairs) if any(key == other for other, _ in pairs[:i]))
        raise _RepeatedKeyError(repr(repeated))
    return found


def _deeper_than(content: Any, depth: int) -> bool:
    level = [content] if isinstance(content, (dict, list)) else []
    for _ in range(depth):
        inside = [value.values() if isinstance(value, dict) else value for value in level]
        level = [inner for values in inside for inner in values if isinstance(inner, (dict, list))]
        if not level:
            return False
    return True
