"""What an existing nnU-Net raw dataset holds: its cases, their files, its labels."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_conversion.supervision.case_names import is_file_ending, refuse_bad_names, refuse_endings
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json
from noise_synthesis.safe_io.structures import Structures, all_values, as_values, has_regions

LARGEST_LABEL = 65535
_REWRITTEN = ("channel_names", "labels", "numTraining", "file_ending", "dataset")


@dataclass(frozen=True)
class RawCase:
    """Files of one case: an image per channel, and where the label is, or would be."""

    name: str
    images: tuple[Path, ...]
    label: Path


@dataclass(frozen=True)
class RawDataset:
    """A raw dataset.

    ``description`` is its dataset.json, ``labels`` the value of every class, or the values of every region, with
    ``ignore``.
    """

    folder: Path
    description: dict[str, Any]
    file_ending: str
    channels: int
    labels: dict[str, Any]
    cases: tuple[RawCase, ...]

    @property
    def names(self) -> list[str]:
        """Case identifiers, sorted."""
        return [case.name for case in self.cases]

    @property
    def files_per_case(self) -> int:
        """Image files of a case: one for each channel, or fewer where a file holds several, as a colour picture."""
        return Counter(len(case.images) for case in self.cases).most_common(1)[0][0]

    @property
    def examples(self) -> list[Path]:
        """A few images, for whoever must find out how the dataset is read."""
        return [case.images[0] for case in self.cases[:3]]

    @property
    def further(self) -> dict[str, Any]:
        """Entries of dataset.json that a dataset made from this one takes over as they are."""
        return {key: value for key, value in self.description.items() if key not in _REWRITTEN}

    @property
    def label_values(self) -> list[int]:
        """Every value that a label file may have, that of ``ignore`` included."""
        return all_values(self.labels)

    @property
    def structures(self) -> Structures:
        """The classes or regions that labels show, where nothing is wrong with them."""
        return Structures.of(self.description)

    @property
    def ignore_label(self) -> int | None:
        """Value of the ignore label, or None."""
        return self.labels.get("ignore")


def read_raw_dataset(folder: Path) -> RawDataset:
    """Read dataset.json and list the cases, by imagesTr or by the ``dataset`` entry that nnU-Net also knows.

    Raises:
        InputError: something that nnU-Net needs is missing.
    """
    path = folder / "dataset.json"
    description = read_json(path)
    if not isinstance(description, dict):
        raise InputError(f"{path}: expected a JSON object")
    missing = [key for key in ("channel_names", "labels", "file_ending", "numTraining") if key not in description]
    if missing:
        raise InputError(f"{path}: {', '.join(missing)} missing; nnU-Net needs them")
    _check_entries(path, description)
    ending, channels = description["file_ending"], len(description["channel_names"])
    listed = description.get("dataset")
    if not listed:
        refuse_endings(folder, ending)
    cases = _listed_cases(folder, listed) if listed else _cases_on_disk(folder, ending)
    if not cases:
        raise InputError(f"{folder / 'imagesTr'}: no image <case>_0000{ending} here")
    refuse_bad_names([case.name for case in cases], str(path if listed else folder / "imagesTr"))
    return RawDataset(folder, description, ending, channels, _labels(path, description["labels"]), tuple(cases))


def link_or_copy(source: Path, target: Path) -> str:
    """Give ``source`` a second name without copying where the file system allows; return "linked" or "copied".

    Tried in this order: hard link, symbolic link (another volume), copy.
    """
    source = source.resolve()
    for make in (os.link, os.symlink):
        try:
            make(source, target)
            return "linked"
        except OSError:
            continue
    shutil.copy2(source, target)
    return "copied"


def _labels(path: Path, labels: Any) -> dict[str, Any]:
    if not isinstance(labels, dict) or not labels:
        raise InputError(f"{path}: 'labels' must map class names to values")
    listed = [value if isinstance(value, list) else [value] for value in labels.values()]
    if not all(own and all(type(value) is int for value in own) for own in listed):
        raise InputError(f"{path}: label values must be whole numbers, or lists of them for regions")
    for name in {"background", "ignore"} & labels.keys():
        if isinstance(labels[name], list):
            raise InputError(f"{path}: '{name}' has the list {labels[name]}, expected one label value")
    values = [value for own in map(as_values, labels.values()) for value in own]
    alike = len(set(values)) < len(values) and not has_regions(labels)
    if alike or not all(0 <= value <= LARGEST_LABEL for value in values):
        raise InputError(f"{path}: label values must be different numbers from 0 to {LARGEST_LABEL}, got {labels}")
    return dict(labels)


def _check_entries(path: Path, description: dict[str, Any]) -> None:
    """Refuse entries of dataset.json of another kind than nnU-Net's documentation of the format gives them."""
    channels, ending, listed = (description.get(key) for key in ("channel_names", "file_ending", "dataset"))
    if not isinstance(channels, dict) or not channels or not all(isinstance(name, str) for name in channels.values()):
        raise InputError(f"{path}: 'channel_names' is {channels!r:.100}, expected an object of numbers and names")
    if sorted(channels) != sorted(map(str, range(len(channels)))):
        raise InputError(f"{path}: 'channel_names' numbers the channels {', '.join(channels)}, expected 0, 1, ...")
    if not is_file_ending(ending):
        raise InputError(f"{path}: 'file_ending' is {ending!r:.100}, expected text such as '.nii.gz'")
    if not isinstance(description["numTraining"], int) or isinstance(description["numTraining"], bool):
        raise InputError(f"{path}: 'numTraining' is {description['numTraining']!r:.100}, expected a whole number")
    if listed is not None and not isinstance(listed, dict):
        raise InputError(f"{path}: 'dataset' is {listed!r:.100}, expected an object of cases")
    for case, entry in (listed or {}).items():
        files = [*entry["images"], entry["label"]] if _has_files(entry) else [None]
        if not all(isinstance(file, str) and "\0" not in file for file in files):
            raise InputError(f"{path}: 'dataset' has {entry!r:.100} for {case!r:.100}, expected 'images' and 'label'")


def _has_files(entry: Any) -> bool:
    return (
        isinstance(entry, dict) and isinstance(entry.get("images"), list) and bool(entry["images"]) and "label" in entry
    )


def _cases_on_disk(folder: Path, ending: str) -> list[RawCase]:
    images_folder = folder / "imagesTr"
    if not images_folder.is_dir():
        raise InputError(f"{images_folder}: no such folder; an nnU-Net raw dataset has its images there")
    pattern = re.compile(r"(.+)_\d{4}" + re.escape(ending), re.DOTALL)
    images: dict[str, list[Path]] = {}
    for path in sorted(images_folder.iterdir()):
        match = pattern.fullmatch(path.name)
        if match and not path.name.startswith("."):
            images.setdefault(match[1], []).append(path)
    return [RawCase(name, tuple(files), folder / "labelsTr" / (name + ending)) for name, files in images.items()]


def _listed_cases(folder: Path, listed: dict[str, Any]) -> list[RawCase]:
    """The entry ``dataset`` of dataset.json: explicit files, relative to the dataset's folder or absolute."""

    def place(text: str) -> Path:
        return folder / os.path.expandvars(text)

    return [
        RawCase(name, tuple(place(image) for image in entry["images"]), place(entry["label"]))
        for name, entry in sorted(listed.items())
    ]
