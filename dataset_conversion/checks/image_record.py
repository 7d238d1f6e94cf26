"""Were the preprocessed images made from the raw images that are there now?

nnU-Net keeps a copy of the labels that it preprocesses, but not of the images. So a record is kept beside the
preprocessed data: size, times and hash of the raw files of every case, as first seen with the preprocessed file that
is there. A file whose size and times are those of the record is not read again: of the two times one is set by the
system alone, whatever a copy or an archive does to the other. The record is begun where no raw file can have changed
since: all its times are older than the preprocessed file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset_conversion.raw.dataset import read_raw_dataset
from dataset_conversion.raw.fingerprint import file_hash
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json, write_json

RECORD = "mlbseg_images.json"
DATA_ENDINGS = (".b2nd", ".npz", ".npy")

Entry = dict[str, Any]
"""Of a case: ``made``, size and time of the preprocessed file; ``images``, size, times and hash of each raw file."""


@dataclass
class Compared:
    """Cases of a preprocessed configuration by what became of their raw images.

    Attributes:
        same: The images are those that were preprocessed; their entries for the record.
        changed: They are not those of the record.
        suspect: They are not in the record, and newer than the preprocessed file: written, moved, or linked since.
    """

    same: dict[str, Entry] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)


def raw_images(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Image files of every case of a raw dataset; empty where it cannot be read."""
    try:
        return {case.name: case.images for case in read_raw_dataset(folder).cases}
    except InputError:
        return {}


def compare_images(images: Mapping[str, Sequence[Path]], folder: Path, raw: Path) -> Compared:
    """Compare raw images with the record, reading only those that are new or have another size or another time.

    Args:
        images: by case, the raw files; cases without all files, or without preprocessed data, are left out.
        folder: ``nnUNet_preprocessed/DATASET/CONFIGURATION``.
        raw: the raw dataset; links from here on count with their own times.
    """
    found, known = Compared(), _read(folder.parent).get(folder.name, {})
    for case, files in images.items():
        data = preprocessed_file(folder, case)
        if data is None or not all(file.is_file() for file in files):
            continue
        entry = known.get(case)
        if entry is not None and entry["made"] == _signature(data)[:2]:
            if _is_same(entry, files):
                found.same[case] = entry_of(files, data, entry)
            else:
                found.changed.append(case)
        elif max(newest_ns(file, raw) for file in files) > data.stat().st_mtime_ns:
            found.suspect.append(case)
        else:
            found.same[case] = entry_of(files, data)
    return found


def keep(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Put entries into the record; on a disk that cannot be written there is none."""
    content = _read(folder.parent)
    updated = {**content, folder.name: {**content.get(folder.name, {}), **entries}}
    if updated != content:
        with contextlib.suppress(OSError):
            write_json(folder.parent / RECORD, updated)


def entry_of(files: Sequence[Path], data: Path, known: Entry | None = None) -> Entry:
    """The entry of a case; hashes of ``known`` are taken over, the files being the same."""
    hashes = {name: value[-1] for name, value in known["images"].items()} if known else {}
    images = {file.name: [*_signature(file), hashes.get(file.name) or file_hash(file)] for file in files}
    return {"made": _signature(data)[:2], "images": images}


def preprocessed_file(folder: Path, case: str) -> Path | None:
    """The file with the preprocessed image of a case, or None."""
    return next((path for path in (folder / f"{case}{ending}" for ending in DATA_ENDINGS) if path.is_file()), None)


def newest_ns(file: Path, raw: Path) -> int:
    """The last time at which a file, or a link on the way to it from ``raw``, was written, moved or put in place."""
    return max(_times(file, raw))


def _times(file: Path, raw: Path) -> Iterator[int]:
    status = file.stat()
    yield max(status.st_mtime_ns, status.st_ctime_ns)
    for place in (file, *file.parents):
        if place.is_symlink():
            status = place.lstat()
            yield max(status.st_mtime_ns, status.st_ctime_ns)
        if place == raw:
            return


def _signature(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _is_same(entry: Entry, files: Sequence[Path]) -> bool:
    known = entry["images"]
    if sorted(known) != sorted(file.name for file in files):
        return False
    return all(known[f.name][:-1] == _signature(f) or known[f.name][-1] == file_hash(f) for f in files)


def _read(folder: Path) -> dict[str, Any]:
    """The record, empty where there is none or it is damaged; it is then begun anew."""
    try:
        content = read_json(folder / RECORD)
    except InputError:
        return {}
    return content if isinstance(content, dict) else {}
