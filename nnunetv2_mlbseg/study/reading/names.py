"""Names and seeds that a study file gives: they become names of folders and must tell things apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nnunetv2_mlbseg.study.reading import entries
from nnunetv2_mlbseg.study.reading.entries import Entries
from noise_synthesis.safe_io.errors import InputError

SHARED = "shared"  # stands in place of a setting's name in the folders of runs that all settings share
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def named(content: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """A mapping whose keys can be names of folders; there must be one at least."""
    if not content:
        raise InputError(f"{where}: nothing in it")
    for key in content:
        if not isinstance(key, str) or not NAME.fullmatch(key) or key == SHARED:
            raise InputError(
                f"{where}: the name {key!r} cannot be used: letters, digits and _ . + -, and not '{SHARED}'"
            )
    return dict(content)


def take_name(top: Entries, key: str, default: str) -> str:
    """A name that can stand in file names."""
    name: str = top.take(key, entries.TEXT, default)
    if not NAME.fullmatch(name):
        raise InputError(f"{top.where}: {key} is '{name}', expected letters, digits and _ . + -")
    return name


def check_distinct(seeds: tuple[int, ...], where: str) -> None:
    """A seed that stands twice would count one training twice."""
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{where}: {list(seeds)} names a seed twice")
