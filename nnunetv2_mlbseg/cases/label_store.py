"""Preprocessed labels beside nnU-Net's: generated (Eq. 1), true, corrected, former. A killed run goes on where it was.

Per case: ``<case>.b2nd`` (label in the preprocessed geometry, for the loaders), ``<case>_locations.npz`` (class
locations, for nnU-Net's foreground oversampling) and, of generated labels, ``<case>`` with the dataset's file ending
(label in the case's own geometry, for people). ``manifest.json`` names the cases that are complete and the source of
the labels: a fingerprint of the network that made them, or of the true labels' files. While several processes write,
each has a manifest of its own, and all are united in the end.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import blosc2
import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_path, read_json, write_json

ClassKey: TypeAlias = int | tuple[int, ...]
"""A class, or several together, as nnU-Net's foreground oversampling names them."""

Kind: TypeAlias = Literal["generated", "true", "corrected", "former", "further"]


class LabelStore:
    """A folder of labels in the preprocessed geometry.

    Args:
        folder: Created when the first label is written.
        kind: What the labels are; stands in messages.
        writer: Number of the process that writes, 0 for the first or only one.
    """

    def __init__(self, folder: Path, kind: Kind = "generated", writer: int = 0):
        self.folder = Path(folder)
        self.kind = kind
        self.writer = writer

    @property
    def _manifest(self) -> Path:
        return self.folder / "manifest.json"

    def start(self, source: str) -> None:
        """Begin, or go on with, labels of the source with this fingerprint.

        Labels of another source are removed first: mixing the two would go unnoticed.
        """
        if self.source() != source:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(self._manifest, {"source": source, "cases": []})

    def source(self) -> str | None:
        """Fingerprint of what the labels came from; None where there are none."""
        return self._read()["source"] if self._manifest.is_file() else None

    def bias(self) -> list[float] | None:
        """What was added to the logits of every class before generated labels were taken; None: not determined."""
        return self._read().get("bias") if self._manifest.is_file() else None

    def keep_bias(self, bias: list[float]) -> None:
        """Record it, so that a killed run goes on with the same one."""
        write_json(self._manifest, {**self._read(), "bias": bias})

    def complete(self) -> set[str]:
        """Cases whose files are all in place."""
        found: set[str] = set(self._read()["cases"]) if self._manifest.is_file() else set()
        return found.union(*(self._read(path)["cases"] for path in self._others()))

    def mark_complete(self, case: str) -> None:
        """Record a case in the manifest; call it after its files are written."""
        own = self._manifest if self.writer == 0 else self.folder / f"manifest_{self.writer}.json"
        manifest = self._read(own) if own.is_file() else {**self._read(), "cases": []}
        write_json(own, {**manifest, "cases": sorted({*manifest["cases"], case})})

    def unite(self) -> None:
        """Enter the cases of all writers in ``manifest.json`` once they are done, and remove their manifests."""
        write_json(self._manifest, {**self._read(), "cases": sorted(self.complete())})
        for path in self._others():
            path.unlink()

    def save(
        self, case: str, seg: np.ndarray, class_locations: Mapping[ClassKey, Any], patch_size: tuple[int, ...]
    ) -> None:
        """Write label ``(1, Z, Y, X)`` and class locations in the preprocessed geometry."""
        seg = np.ascontiguousarray(seg, dtype=np.int16)
        blocks, chunks = comp_blosc2_params(seg.shape, tuple(patch_size), seg.itemsize)
        with atomic_path(self.folder / f"{case}.b2nd") as temporary:
            try:
                blosc2.asarray(seg, urlpath=str(temporary), chunks=chunks, blocks=blocks)
                whole = np.array_equal(blosc2.open(str(temporary), mode="r")[:], seg)
            except RuntimeError:
                whole = False
            if not whole:  # blosc2 gives no reason
                raise OSError(errno.EIO, "was not written completely; is the disk full?", str(temporary))
        arrays: dict[str, Any] = {
            _key_to_name(key): np.asarray(voxels, np.int64) for key, voxels in class_locations.items()
        }
        with atomic_path(self.folder / f"{case}_locations.npz") as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def load(self, case: str) -> tuple[Any, dict[ClassKey, np.ndarray]]:
        """Label (memory-mapped blosc2 array) and class locations of a case.

        Raises:
            InputError: the files of the case are missing.
        """
        label, locations = self.folder / f"{case}.b2nd", self.folder / f"{case}_locations.npz"
        for path in (label, locations):
            if not path.is_file():
                raise InputError(f"{path}: no such file, expected the {self.kind} label of case {case}")
        with np.load(locations, allow_pickle=False) as archive:
            class_locations = {_name_to_key(name): archive[name] for name in archive.files}
        mapped = {} if os.name == "nt" else {"mmap_mode": "r"}  # blosc2 cannot map files on Windows
        return blosc2.open(str(label), mode="r", dparams={"nthreads": 1}, **mapped), class_locations

    def _others(self) -> list[Path]:
        return sorted(self.folder.glob("manifest_*.json"))

    def _read(self, path: Path | None = None) -> dict[str, Any]:
        path = path or self._manifest
        manifest = read_json(path)
        if not isinstance(manifest, dict) or not {"source", "cases"} <= manifest.keys():
            raise InputError(f"{path}: expected an object with the keys source and cases")
        return manifest


def _key_to_name(key: ClassKey) -> str:
    """nnU-Net's class keys are numbers, or tuples of numbers for groups of classes."""
    return ",".join(map(str, key)) + "," if isinstance(key, tuple) else str(key)


def _name_to_key(name: str) -> ClassKey:
    return tuple(int(part) for part in name.split(",") if part) if "," in name else int(name)
