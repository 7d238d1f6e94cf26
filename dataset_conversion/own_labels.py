"""Further labels of a user's cases, beside the dataset: true ones of noisy cases, former ones of clean cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
