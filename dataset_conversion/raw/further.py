"""Further labels of noisy and clean cases, by another reader or model: a folder ``labelsTr_SOURCE`` for each source."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from dataset_conversion.raw.cases import FORMER_LABELS, TRUE_LABELS
from dataset_conversion.supervision.files import name_some
from noise_synthesis.safe_io.errors import InputError

PREFIX = "labelsTr_"
RESERVED = {folder.removeprefix(PREFIX) for folder in (TRUE_LABELS, FORMER_LABELS)}


def folder_of_source(source: str) -> str:
    """The folder of a source's further labels in a raw dataset.

    Raises:
        InputError: the name cannot be that of a folder on every system, or stands for something else.
    """
    if not re.fullmatch(r"[\w-]([\w .-]*[\w-])?", source):
        raise InputError(f"source {source!r}: expected letters, digits, '_', '-', and '.' or spaces between them")
    if source.lower() in RESERVED:
        raise InputError(f"source {source!r}: {PREFIX}{source.lower()} has other labels, expected another name")
    return PREFIX + source


def further_sources(raw: Path) -> dict[str, Path]:
    """The folders with further labels of a raw dataset by their sources, sorted."""
    found = {path.name.removeprefix(PREFIX): path for path in raw.glob(f"{PREFIX}*") if path.is_dir()}
    return {source: path for source, path in sorted(found.items()) if source.lower() not in RESERVED}


def cases_with_labels(folder: Path, ending: str, cases: Collection[str]) -> tuple[str, ...]:
    """Those of the cases that have a label in a folder, sorted."""
    return tuple(sorted(case for case in cases if (folder / f"{case}{ending}").is_file()))


def labelled_twice(
    further: Mapping[str, Collection[str]], sources: Mapping[str, str], noisy: Collection[str]
) -> list[str]:
    """What is wrong where a source has two labels of a noisy case, a line for each source.

    Args:
        further: by source, the cases with a further label of it.
        sources: the source of the labels in ``labelsTr``; of clean cases, that of their former label.
    """
    known = set(noisy).intersection(sources)
    twice = {
        source: sorted(case for case in known.intersection(cases) if sources[case] == source)
        for source, cases in further.items()
    }
    return [
        f"{PREFIX}{source}: {source} has drawn labelsTr as well, says supervision/sources.json, of {name_some(cases)}; "
        f"expected one label of a source for each case"
        for source, cases in twice.items()
        if cases
    ]
