"""The one reader of lists that users write: names of cases, one a line or as JSON."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json
from noise_synthesis.safe_io.text import composed, read_text

_REMARK = re.compile(r"(^|\s)#.*")


def read_name_list(path: str | Path) -> list[str]:
    """Read names from a text file or a JSON list (``.json``).

    In a text file a name fills a line and may hold spaces, which are cut off at both ends; ``#`` after a space, or at
    the beginning, starts a remark.

    Raises:
        InputError: the file cannot be read, holds no name, or a name twice.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        names = read_json(path)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path}: expected a JSON list of case names")
    else:
        lines = read_text(path).replace("\ufeff", "").splitlines()  # files joined by "cat" keep their marks
        names = [name for name in (_REMARK.sub("", line).strip() for line in lines) if name]
    if not names:
        raise InputError(f"{path}: no case in this list")
    twice = sorted(name for name, count in Counter(map(composed, names)).items() if count > 1)
    if twice:
        raise InputError(f"{path}: listed more than once: {', '.join(twice[:5])}")
    return names
