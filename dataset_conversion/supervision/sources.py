"""Who, or what, drew the noisy labels: ``supervision/sources.json``, an object of cases and names of their sources."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from dataset_conversion.supervision.case_lists import choose_cases
from dataset_conversion.supervision.files import SUPERVISION_FOLDER, Supervision, name_some
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json, write_json
from noise_synthesis.safe_io.text import as_on_disk

SOURCES_FILE = "sources.json"
WHAT_FOR = "only noisy labels have a source, and former labels of clean cases"


def read_sources(folder: str | Path, cases: Iterable[str] = ()) -> dict[str, str]:
    """Return the source of every case that has one; nothing where there is no file.

    Args:
        folder: a dataset, raw or preprocessed.
        cases: those on disk; a named case is spelled as its file is (see `as_on_disk`).

    Raises:
        InputError: the file is no object of texts.
    """
    path = Path(folder) / SUPERVISION_FOLDER / SOURCES_FILE
    if not path.exists():
        return {}
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(source, str) for source in content.values()):
        raise InputError(f'{path}: expected an object of cases and sources such as {{"case1": "reader2"}}')
    strange = [case for case, source in content.items() if not is_source_name(source)]
    if strange:
        raise InputError(
            f"{path}: case {strange[0]} has the source {content[strange[0]]!r}, expected a name in one line"
        )
    return dict(zip(as_on_disk(content, set(cases)), content.values(), strict=True))


def write_sources(folder: str | Path, sources: Mapping[str, str]) -> None:
    """Write the file below ``folder``, sorted by case."""
    write_json(Path(folder) / SUPERVISION_FOLDER / SOURCES_FILE, dict(sorted(sources.items())))


def source_problems(sources: Mapping[str, str], supervision: Supervision, former: Collection[str] = ()) -> list[str]:
    """Return every way in which sources and roles contradict each other; empty if they agree.

    Args:
        former: clean cases whose former label has a source as well.
    """
    roles = supervision.roles()
    others: dict[str, list[str]] = {}
    for case in sources:
        if roles.get(case) != "noisy" and not (roles.get(case) == "clean" and case in former):
            others.setdefault(roles.get(case, "without a role"), []).append(case)
    return [
        f"{SUPERVISION_FOLDER}/{SOURCES_FILE}: source of a case that is {role}: {name_some(cases)}; {WHAT_FOR}"
        for role, cases in others.items()
    ]


def choose_sources(
    given: Sequence[Sequence[str]],
    names: Sequence[str],
    supervision: Supervision,
    exclude: Iterable[str] = (),
    former: Collection[str] = (),
) -> dict[str, str]:
    """Return the source of every case that a user names one for.

    Args:
        given: for every source its name, then its cases as `choose_cases` takes them.
        names: all cases of the dataset.
        exclude: cases that are left out, whoever names them.
        former: see `source_problems`.

    Raises:
        InputError: a source without a name or a case, a case that does not exist, one with two sources, or one whose
            label is not noisy.
    """
    found: dict[str, str] = {}
    for source, *texts in given:
        option = f"--source {source}"
        if not is_source_name(source):
            raise InputError(f"--source {source!r}: expected a name in one line, then the cases of this source")
        if not texts:
            raise InputError(
                f"{option}: no case given, expected its cases: names, a file that lists them, or a pattern"
            )
        cases = [case for case in choose_cases(option, texts, names) if case not in set(exclude)]
        wrong = source_problems(dict.fromkeys(cases, source), supervision, former)
        if wrong:
            raise InputError(f"{option}: {wrong[0].partition(': ')[2]}")
        twice = [case for case in cases if found.get(case, source) != source]
        if twice:
            raise InputError(f"--source {found[twice[0]]} and {option} both take {name_some(twice)}; a label has one")
        found |= dict.fromkeys(cases, source)
    return found


def is_source_name(text: str) -> bool:
    """Whether a text can stand for a source in tables: some characters in one line."""
    return bool(text.strip()) and text.isprintable()
