"""Further labels of a user's cases, beside the dataset: true ones, former ones, and those of more readers or models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from dataset_conversion.raw.further import PREFIX, folder_of_source, labelled_twice
from dataset_conversion.supervision.files import name_some
from noise_synthesis.safe_io.errors import InputError


def further_labels(
    option: str, folder: Path, ending: str, wanted: Sequence[str], needed: Sequence[str] = ()
) -> dict[str, Path]:
    """Return the label files ``<case><ending>`` in a folder.

    Args:
        option: begins the line of an error.
        wanted: cases whose label is taken where there is one; files of others are left alone.
        needed: those of them that must have one.

    Raises:
        InputError: no such folder, no file of any wanted case, or none of a needed one.
    """
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: no such folder")
    paths = {case: folder / f"{case}{ending}" for case in wanted}
    found = {case: path for case, path in paths.items() if path.is_file()}
    missing = [case for case in needed if case not in found]
    if missing:
        raise InputError(
            f"{option} {folder}: no label of {len(missing)} of {len(needed)} noisy cases ({name_some(missing)}), "
            f"expected a file NAME{ending} for each"
        )
    if not found:
        raise InputError(
            f"{option} {folder}: no label of any of the {len(wanted)} cases that it is for, expected files NAME{ending}"
        )
    return found


def labels_of_sources(
    option: str,
    given: Sequence[tuple[str, str]],
    ending: str,
    noisy: Sequence[str],
    clean: Sequence[str],
    sources: Mapping[str, str],
) -> dict[str, dict[str, Path]]:
    """Return the label files of more sources, by the folder of a raw dataset that they belong to.

    Args:
        option: begins the line of an error.
        given: the name of each source and the folder with its labels.
        noisy, clean: cases whose labels are taken where there are any.
        sources: of the labels that the cases have already.

    Raises:
        InputError: see `folder_of_source` and `further_labels`; or two labels of one source for a case.
    """
    found: dict[str, dict[str, Path]] = {}
    for source, folder in given:
        try:
            target = folder_of_source(source)
        except InputError as error:
            raise InputError(f"{option} {source} {folder}: {error}") from None
        if target in found:
            raise InputError(f"{option} {source}: given twice, expected one folder for each source")
        found[target] = further_labels(f"{option} {source}", Path(folder), ending, (*noisy, *clean))
    twice = labelled_twice({target.removeprefix(PREFIX): cases for target, cases in found.items()}, sources, noisy)
    if twice:
        raise InputError(f"{option}: {twice[0]}")
    return found
