"""Cases as a user names them on the command line: by a list, a pattern, or one by one."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from dataset_conversion.supervision.files import name_some
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.text import as_on_disk, composed
from noise_synthesis.safe_io.text_lists import read_name_list


def choose_cases(option: str, texts: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the cases that texts stand for: each is the name of a case, the file of a list, or a pattern for names.

    Args:
        option: begins the line of an error.
        names: all cases, spelled as on disk; so are those returned, each once.

    Raises:
        InputError: a listed case that does not exist, or a pattern without a match.
    """
    found: dict[str, None] = {}
    for text in texts:
        found |= dict.fromkeys(_cases_of(option, text, names))
    return list(found)


def read_cases(option: str, path: Path, names: Sequence[str]) -> list[str]:
    """Return the cases that a file lists, spelled as in ``names``.

    Raises:
        InputError: see `read_name_list`; or a case that is not in ``names``.
    """
    listed = as_on_disk(read_name_list(path), names)
    unknown = set(listed) - set(names)
    if unknown:
        raise InputError(f"{option} {path}: no such case in the dataset: {name_some(unknown)}")
    return listed


def _cases_of(option: str, text: str, names: Sequence[str]) -> list[str]:
    if as_on_disk([text], names)[0] in names:  # before patterns: a name may have brackets
        return as_on_disk([text], names)
    if Path(text).is_file():
        return read_cases(option, Path(text), names)
    pattern = composed(text)
    matching = [name for name in names if fnmatch.fnmatchcase(composed(name), pattern)]
    if not matching:
        raise InputError(f"{option} {text}: no such file, and no case whose name matches this pattern")
    return matching
