"""An output folder that appears under its name only when it is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noise_synthesis.safe_io.errors import InputError


@contextmanager
def complete_folder(target: Path, marker: str, force: bool = False) -> Iterator[Path]:
    """Yield a fresh hidden folder beside ``target``; rename it to ``target`` on success, remove it on failure.

    What a killed run left behind is removed first. ``force`` replaces an existing ``target``, provided that it is
    empty or holds the file ``marker``, so that nobody's other data is ever deleted.

    Raises:
        InputError: ``target`` exists and may not be replaced, or its parent cannot be written to.
    """
    target = Path(os.path.abspath(target))
    check_replaceable(target, marker, force)
    partial = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from None
    try:
        yield partial
        _replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def overlap(one: Path, other: Path) -> bool:
    """Whether two folders are the same, or one lies in the other, links followed."""
    one, other = one.resolve(), other.resolve()
    return one == other or one in other.parents or other in one.parents


def check_replaceable(target: Path, marker: str, force: bool) -> None:
    """Raise an ``InputError`` unless ``target`` may be written: it does not exist, or may be replaced."""
    if not os.path.lexists(target):
        return
    if not force:
        raise InputError(f"{target}: exists already; choose another name, or replace it with --force")
    ours = target.is_dir() and not target.is_symlink() and (not any(target.iterdir()) or (target / marker).is_file())
    if not ours:
        raise InputError(f"{target}: --force replaces only a folder that holds {marker}; remove this one yourself")


def _replace(partial: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(partial, target)
    shutil.rmtree(old, ignore_errors=True)
