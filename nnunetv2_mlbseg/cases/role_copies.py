"""Copies of role files and splits beside the preprocessed data.

The raw dataset holds the originals (``supervision/*.json`` and ``splits_final.json``). nnU-Net's preprocessing does not
carry them along, and a cluster node may see the preprocessed data only, so copies are kept beside those.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from dataset_conversion.supervision.files import PROVENANCE_FILE, ROLES, SPLITS_FILE, SUPERVISION_FOLDER
from dataset_conversion.supervision.sources import SOURCES_FILE
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_path, read_json

COPIED = (*(f"{role}.json" for role in ROLES), SOURCES_FILE, PROVENANCE_FILE)


def refresh_copies(raw_folder: Path | None, preprocessed_folder: Path) -> None:
    """Copy role files and splits beside the preprocessed data where they are missing or older than the raw ones.

    Args:
        raw_folder: The raw dataset, or None where nnUNet_raw is not set; then existing copies serve.
        preprocessed_folder: ``nnUNet_preprocessed/DatasetXXX_NAME``.

    nnU-Net's planner copies ``splits_final.json`` as well, so a copy older than the raw file is out of date, whoever
    made it; it stays beside the new one as ``splits_final.json.replaced``.

    Raises:
        InputError: ``splits_final.json`` beside the preprocessed data is neither a copy of the raw one nor older: it
            may hold a user's work, or the random split nnU-Net makes where there is none.
    """
    if raw_folder is None or not (raw_folder / SUPERVISION_FOLDER / f"{ROLES[0]}.json").is_file():
        return
    copies = preprocessed_folder / SUPERVISION_FOLDER
    for name in COPIED:
        _copy_or_remove(raw_folder / SUPERVISION_FOLDER / name, copies / name)
    original = raw_folder / SPLITS_FILE
    if not original.is_file():
        return
    in_use = preprocessed_folder / SPLITS_FILE
    last_copy = copies / SPLITS_FILE
    if in_use.is_file() and not _same(in_use, original) and not _same(in_use, last_copy):
        if in_use.stat().st_mtime >= original.stat().st_mtime:
            raise InputError(
                f"{in_use} differs from {original} and is newer: edited by hand, or nnU-Net's random split, which "
                f"would validate on imperfect labels; delete or rename the first file to use the second"
            )
        with contextlib.suppress(FileNotFoundError):  # the training of another fold, begun just now, was faster
            os.replace(in_use, in_use.with_name(f"{SPLITS_FILE}.replaced"))
    _copy_or_remove(original, in_use)
    _copy_or_remove(original, last_copy)


def _same(a: Path, b: Path) -> bool:
    return a.is_file() and b.is_file() and read_json(a) == read_json(b)


def _copy_or_remove(source: Path, target: Path) -> None:
    if not source.is_file():
        target.unlink(missing_ok=True)
        return
    if target.is_file() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
