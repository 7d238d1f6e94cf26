"""The folder of labels that a person draws anew, prepared case by case: each begins as a copy of some label."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from dataset_conversion.raw.companions import companions
from dataset_conversion.raw.formats import DatasetFormat
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_path
from noise_synthesis.safe_io.output_folder import overlap


def folder_of_redrawn(audit: Path, chosen: Path | None, others: Mapping[str, Path | None]) -> Path:
    """The folder to draw in: ``chosen``, or one beside that of the audit, which would go with it on --force.

    Args:
        others: Folders by what they are, which it may neither hold nor lie in.

    Raises:
        InputError: it does.
    """
    audit = audit.absolute()
    folder = audit.with_name(f"{audit.name}_redrawn") if chosen is None else chosen.absolute()
    for what, other in {"the folder of the audit": audit, **others}.items():
        if other is not None and overlap(folder, other):
            raise InputError(f"{folder}: lies in, or holds, {what} {other}; name another folder by --reannotated")
    return folder


def begin_drawing(case: str, begin: Path, folder: Path, format: DatasetFormat) -> tuple[Path, bool]:
    """The file that a person draws in, made as a copy of ``begin`` if it is not there; one that is there stays.

    Args:
        begin: A label file of the case.
        folder: What ``--reannotated`` names later.

    Returns:
        The file, and whether it was made.
    """
    target = folder / f"{case}{format.ending}"
    if target.exists():
        return target, False
    folder.mkdir(parents=True, exist_ok=True)
    beside = companions(begin, case, format, is_image=False)
    for name, path in [*beside.items(), (target.name, begin)]:
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(path, temporary)
    return target, True
