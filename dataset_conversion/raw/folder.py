"""The folder of an nnU-Net raw dataset: its number, its layout, and that it appears only when it is complete."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from dataset_conversion.raw.cases import FILE_ENDING, TRUE_LABELS
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import write_json

LARGEST_NUMBER = 999
_FOLDERS = ("imagesTr", "labelsTr", "supervision")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def environment_folder(variable: str, *, must_exist: bool = True) -> Path:
    """Return the folder that one of nnU-Net's environment variables names.

    Raises:
        InputError: it is not set, or names no folder although it must exist.
    """
    value = os.environ.get(variable)
    if not value:
        raise InputError(
            f"{variable} is not set: set it to nnU-Net's folder, for example 'export {variable}=/data/raw'"
        )
    if must_exist and not Path(value).is_dir():
        raise InputError(f"{variable}={value}: no such folder")
    return Path(value)


def dataset_folders(root: Path, number: int) -> list[Path]:
    """Return the folders ``DatasetXXX_*`` with this number directly below ``root``, sorted."""
    return sorted(path for path in root.glob(f"Dataset{number:03d}_*") if path.is_dir())


def find_dataset(text: str) -> Path:
    """Return the raw dataset that a user means by a number, a name or a path.

    Raises:
        InputError: there is none, or a number stands for several.
    """
    if text.isdecimal():
        root = environment_folder("nnUNet_raw")
        found = dataset_folders(root, int(text))
        if len(found) != 1:
            what = "no dataset has" if not found else f"{', '.join(path.name for path in found)} all have"
            raise InputError(f"dataset {text}: {what} this number in {root}; expected exactly one")
        return found[0]
    path = Path(text)
    if not path.is_dir() and path.name.startswith("Dataset") and len(path.parts) == 1:
        path = environment_folder("nnUNet_raw") / text
    if not (path / "dataset.json").is_file():
        raise InputError(f"{path}: no nnU-Net raw dataset here (expected dataset.json, imagesTr and labelsTr)")
    return path


def free_number(first: int = 1) -> int:
    """Return the smallest dataset number from ``first`` on that no raw, preprocessed or trained dataset has.

    Raises:
        InputError: ``nnUNet_raw`` is unset, or all numbers are taken.
    """
    environment_folder("nnUNet_raw")
    for number in range(first, LARGEST_NUMBER + 1):
        if not any(dataset_folders(folder, number) for folder in _nnunet_folders()):
            return number
    raise InputError(f"no dataset number from {first} to {LARGEST_NUMBER} is free")


def target_folder(number: int, name: str, force: bool) -> Path:
    """Return the folder for a new raw dataset, after making sure that its number is free.

    With ``force`` a dataset of the very same name may be replaced. Another name with the same number is refused in
    any case: nnU-Net finds datasets by number and would find two.

    Raises:
        InputError: ``nnUNet_raw`` unset, number or name impossible, number taken.
    """
    root = environment_folder("nnUNet_raw", must_exist=False)
    if not 1 <= number <= LARGEST_NUMBER:
        raise InputError(f"-d {number}: expected a dataset number from 1 to {LARGEST_NUMBER}")
    if not _NAME.fullmatch(name):
        raise InputError(f"--name {name!r}: expected letters, digits, '_', '-' and '.' only")
    target = root / f"Dataset{number:03d}_{name}"
    for folder in _nnunet_folders():
        for taken in dataset_folders(folder, number):
            if taken.name != target.name:
                raise InputError(f"-d {number}: number taken by {taken}; choose another number, or the same --name")
    if target.exists() and not force:
        raise InputError(f"-d {number}: number taken by {target}; choose another, or replace it with --force")
    return target


@contextlib.contextmanager
def building(target: Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside ``target``; it takes the place of ``target`` only if all goes well.

    What an interrupted run left under the hidden name is removed first.

    Raises:
        InputError: another process is building the same dataset now.
    """
    partial = target.with_name(f".{target.name}.partial")
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(target)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in _FOLDERS:
            (partial / folder).mkdir(parents=True)
        yield partial
        _replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        _unlock(lock)


def write_dataset_json(
    folder: Path,
    *,
    channel_names: Mapping[str, str],
    labels: Mapping[str, Any],
    training_cases: int,
    file_ending: str = FILE_ENDING,
    **further: Any,
) -> None:
    """Write nnU-Net's dataset.json. ``labels`` includes ``ignore`` where the dataset has unlabeled cases."""
    content = {
        "channel_names": dict(channel_names),
        "labels": dict(labels),
        "numTraining": training_cases,
        "file_ending": file_ending,
        **further,
    }
    write_json(folder / "dataset.json", content)


def make_label_folders(folder: Path, fates: Mapping[str, str]) -> None:
    """Make the folders that only some datasets have."""
    if {"noisy", "true", "unlabeled"} & set(fates.values()):
        (folder / TRUE_LABELS).mkdir(exist_ok=True)
    if "test" in fates.values():
        (folder / "imagesTs").mkdir(exist_ok=True)
        (folder / "labelsTs").mkdir(exist_ok=True)


def _nnunet_folders() -> list[Path]:
    variables = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    return [Path(os.environ[variable]) for variable in variables if os.environ.get(variable)]


def _replace(partial: Path, target: Path) -> None:
    if not target.exists():
        os.rename(partial, target)
        return
    old = target.with_name(f".{target.name}.replaced")
    shutil.rmtree(old, ignore_errors=True)
    os.rename(target, old)
    os.rename(partial, target)
    shutil.rmtree(old)


def _lock(target: Path) -> IO[str] | None:
    """Hold a lock on the target's name; the system lets go of it however the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock; two conversions of one number at once are then the user's to avoid
        return None
    try:
        lock = target.with_name(f".{target.name}.lock").open("w")
    except OSError as error:
        raise InputError(
            f"{target.parent}: cannot be written to ({error.strerror}), expected a folder for {target.name}; set "
            f"nnUNet_raw to a folder of yours, and name a dataset to start from by its path"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise InputError(f"{target.name}: another process is making this dataset right now") from None
    return lock


def _unlock(lock: IO[str] | None) -> None:
    if lock is not None:
        Path(lock.name).unlink(missing_ok=True)
        lock.close()
