"""Text as editors of any system save it: its encoding, and names that look the same and are."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from noise_synthesis.safe_io.errors import InputError

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark is its beginning
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path) -> str:
    """Read a text file: UTF-8 with or without a byte order mark, or UTF-16 or UTF-32 with one.

    Raises:
        InputError: it cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not {encoding.upper()} text ({error.reason}); save it as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path}: has zero bytes, so it is not UTF-8 text; save it as UTF-8")
    return text


def as_on_disk(names: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return ``names``, each spelled as the one of ``present`` that looks the same.

    An accented letter is one character or two (letter and accent), by the system that a text comes from. A name that
    looks like none of ``present``, or like several, stays as it is.
    """
    exact = set(present)
    looks: dict[str, list[str]] = {}
    for name in exact:
        looks.setdefault(composed(name), []).append(name)

    def spelled(name: str) -> str:
        same = [name] if name in exact else looks.get(composed(name), [])
        return same[0] if len(same) == 1 else name

    return [spelled(name) for name in names]


def composed(name: str) -> str:
    """A name with accents and letters as one character each: equal for names that look the same."""
    return unicodedata.normalize("NFC", name)
