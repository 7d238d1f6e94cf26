"""A folder with the files that say who is clean, noisy and unlabeled, and who validates."""

from __future__ import annotations

from pathlib import Path

from dataset_conversion.supervision.files import Supervision, write_splits, write_supervision

ROLES = Supervision(clean=("a", "b"), noisy=("c",), unlabeled=("d",))
SPLITS = [{"train": ["a", "b", "c", "d"], "val": ["e"]}, {"train": ["a", "c", "d"], "val": ["b"]}]
CASES = set("abcde")


def write_fold_files(folder: Path, supervision: Supervision = ROLES, splits=SPLITS) -> Path:
    """By default five cases in two folds."""
    folder.mkdir(parents=True, exist_ok=True)
    write_supervision(folder, supervision)
    write_splits(folder, splits)
    return folder
