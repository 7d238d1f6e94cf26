"""Ways to spoil a raw dataset, each a function of the dataset's folder, a case and a random generator.

``HARMFUL`` ones change what a training would learn or cannot be read: ``mlbseg check`` must name them. The others are
unusual but sound: they must go through, and mean the same afterwards.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

Corruption = Callable[[Path, str, random.Random], None]
HARMFUL: dict[str, Corruption] = {}
SOUND: dict[str, Corruption] = {}
ENDING = ".nii.gz"


def harmful(function: Corruption) -> Corruption:
    """Enter a function into ``HARMFUL``."""
    HARMFUL[function.__name__] = function
    return function


def sound(function: Corruption) -> Corruption:
    """Enter a function into ``SOUND``."""
    SOUND[function.__name__] = function
    return function


def image(folder: Path, case: str) -> Path:
    """The first channel's file."""
    return folder / "imagesTr" / f"{case}_0000{ENDING}"


def label(folder: Path, case: str) -> Path:
    """The label's file."""
    return folder / "labelsTr" / f"{case}{ENDING}"


def either(folder: Path, case: str, rng: random.Random) -> Path:
    """Image or label."""
    return rng.choice((image, label))(folder, case)


def change(path: Path, what: Callable[[np.ndarray], np.ndarray], dtype: Any = None) -> None:
    """Replace the voxels of a NIfTI file, header otherwise as it was."""
    old = nibabel.load(path)
    voxels = what(np.array(old.dataobj))
    new = nibabel.Nifti1Image(voxels.astype(dtype or voxels.dtype), old.affine, dtype=dtype or voxels.dtype)
    nibabel.save(new, path)


def patch_header(path: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes of a compressed NIfTI file's header."""
    whole = bytearray(gzip.decompress(path.read_bytes()))
    whole[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(whole), 1))


# --- bytes --------------------------------------------------------------------------------------------------------


@harmful
def truncated(folder: Path, case: str, rng: random.Random) -> None:
    path = either(folder, case, rng)
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(1, len(content) - 12)])


@harmful
def empty_file(folder: Path, case: str, rng: random.Random) -> None:
    either(folder, case, rng).write_bytes(b"")


@harmful
def flipped_bytes(folder: Path, case: str, rng: random.Random) -> None:
    path = image(folder, case)
    content = bytearray(path.read_bytes())
    for _ in range(8):
        content[rng.randrange(len(content) // 4, len(content) - 8)] ^= 1 + rng.randrange(255)
    path.write_bytes(bytes(content))


@harmful
def other_content(folder: Path, case: str, rng: random.Random) -> None:
    path = either(folder, case, rng)
    path.write_bytes(rng.choice((b"no image", b"\x1f\x8b", gzip.compress(b"no NIfTI"), os.urandom(500))))


@harmful
def missing(folder: Path, case: str, rng: random.Random) -> None:
    label(folder, case).unlink()


@harmful
def a_folder_in_place(folder: Path, case: str, rng: random.Random) -> None:
    path = either(folder, case, rng)
    path.unlink()
    path.mkdir()


@harmful
def looping_link(folder: Path, case: str, rng: random.Random) -> None:
    path = either(folder, case, rng)
    path.unlink()
    path.symlink_to(path.name)


@harmful
def link_to_nothing(folder: Path, case: str, rng: random.Random) -> None:
    path = either(folder, case, rng)
    path.unlink()
    path.symlink_to("/nowhere/at/all")


@harmful
def a_pipe(folder: Path, case: str, rng: random.Random) -> None:
    """Opening a pipe that nobody writes to waits for ever."""
    path = either(folder, case, rng)
    path.unlink()
    os.mkfifo(path)


@sound
def link_outside(folder: Path, case: str, rng: random.Random) -> None:
    path = either(folder, case, rng)
    elsewhere = folder.parent / "elsewhere" / path.name
    elsewhere.parent.mkdir(exist_ok=True)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


# --- voxels -------------------------------------------------------------------------------------------------------


@harmful
def not_finite(folder: Path, case: str, rng: random.Random) -> None:
    bad = rng.choice((np.nan, np.inf, -np.inf))

    def spoil(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.astype(np.float32)
        voxels.flat[rng.randrange(voxels.size)] = bad
        return voxels

    change(image(folder, case), spoil)


@harmful
def huge_values(folder: Path, case: str, rng: random.Random) -> None:
    size = rng.choice((1e20, 1e30, 3e38))

    def spoil(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.astype(np.float32)
        voxels.flat[rng.randrange(voxels.size)] = size
        return voxels

    change(image(folder, case), spoil)


@harmful
def constant_image(folder: Path, case: str, rng: random.Random) -> None:
    change(image(folder, case), lambda voxels: np.full_like(voxels, rng.choice((0, 7))))


@harmful
def fractional_label(folder: Path, case: str, rng: random.Random) -> None:
    change(label(folder, case), lambda voxels: voxels * 0.5, np.float32)


@harmful
def nan_in_label(folder: Path, case: str, rng: random.Random) -> None:
    def spoil(voxels: np.ndarray) -> np.ndarray:
        voxels = voxels.astype(np.float32)
        voxels.flat[0] = np.nan
        return voxels

    change(label(folder, case), spoil)


@harmful
def unknown_label_value(folder: Path, case: str, rng: random.Random) -> None:
    value = rng.choice((-1, 2, 7, 300))
    change(label(folder, case), lambda voxels: np.where(voxels > 0, value, 0), np.int16)


@harmful
def empty_mask(folder: Path, case: str, rng: random.Random) -> None:
    change(label(folder, case), np.zeros_like)


@harmful
def other_shape(folder: Path, case: str, rng: random.Random) -> None:
    axis = rng.randrange(3)
    change(label(folder, case), lambda voxels: np.take(voxels, range(voxels.shape[axis] - 1), axis))


@harmful
def two_dimensions_only(folder: Path, case: str, rng: random.Random) -> None:
    change(image(folder, case), lambda voxels: voxels[:, :, 0])


@harmful
def four_dimensions(folder: Path, case: str, rng: random.Random) -> None:
    change(either(folder, case, rng), lambda voxels: np.stack([voxels, voxels], -1))


@sound
def label_of_floats(folder: Path, case: str, rng: random.Random) -> None:
    change(label(folder, case), lambda voxels: voxels, rng.choice((np.float32, np.int16, np.int32)))


@sound
def one_slice(folder: Path, case: str, rng: random.Random) -> None:
    where = nibabel.load(label(folder, case)).shape[2] // 2
    for path in (image(folder, case), label(folder, case)):
        change(path, lambda voxels: voxels[:, :, where : where + 1])


# --- headers ------------------------------------------------------------------------------------------------------


@harmful
def other_spacing(folder: Path, case: str, rng: random.Random) -> None:
    value = rng.choice((-0.5, 0.0, float("nan"), float("inf"), 1e-30, 3e9))
    patch_header(image(folder, case), 80 + 4 * rng.randrange(3), struct.pack("<f", value))


@harmful
def claims_to_be_huge(folder: Path, case: str, rng: random.Random) -> None:
    patch_header(image(folder, case), 42, struct.pack("<3h", 30000, 30000, 3000))


@harmful
def impossible_size(folder: Path, case: str, rng: random.Random) -> None:
    patch_header(image(folder, case), 40, struct.pack("<4h", rng.choice((-1, 0, 9)), 0, -5, 3))


@harmful
def unknown_data_type(folder: Path, case: str, rng: random.Random) -> None:
    patch_header(image(folder, case), 70, struct.pack("<2h", rng.choice((0, 999, 1792)), rng.choice((0, 8, 77))))


# --- names --------------------------------------------------------------------------------------------------------


def _renamed(folder: Path, case: str, name: str) -> None:
    image(folder, case).rename(image(folder, name))
    label(folder, case).rename(label(folder, name))
    for path in folder.rglob("*.json"):
        path.write_text(path.read_text().replace(f'"{case}"', json.dumps(name)))


@sound
def odd_name(folder: Path, case: str, rng: random.Random) -> None:
    names = (
        "a b  c",
        "Grüße",
        "e\u0301te\u0301",
        "心臓",
        "a'b\"c",
        "$HOME",
        "a;b&c|d",
        "%s{}",
        "-np",
        "a_0000",
        "x" * 150,
    )
    _renamed(folder, case, rng.choice(names))


@harmful
def impossible_name(folder: Path, case: str, rng: random.Random) -> None:
    _renamed(folder, case, rng.choice(("a\nb", "a\\b", "a\x07b", "a\tb", "x" * 230)))


@harmful
def hidden_name(folder: Path, case: str, rng: random.Random) -> None:
    """nnU-Net lists hidden files; one such as macOS leaves behind would be a case without a label."""
    (folder / "imagesTr" / f"._{case}_0000{ENDING}").write_bytes(b"finder")


# --- JSON ---------------------------------------------------------------------------------------------------------

_ROLE_FILES = tuple(f"supervision/{role}.json" for role in ("clean", "noisy", "unlabeled"))
JSON_FILES = ("dataset.json", "splits_final.json", *_ROLE_FILES)


@harmful
def broken_json(folder: Path, case: str, rng: random.Random) -> None:
    path = folder / rng.choice(JSON_FILES)
    content = path.read_bytes()
    spoilt = (
        b"",
        content[: len(content) // 2],
        content + b"]",
        content.decode().encode("utf-16-le"),  # without the mark by which it is known
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[" * 40 + b"]" * 40,
        b"1" * 5000,
        b"NaN",
        b"{}",
        b'"text"',
        b"null",
        b"17",
    )
    path.write_bytes(rng.choice(spoilt))


@harmful
def key_twice(folder: Path, case: str, rng: random.Random) -> None:
    splits = (folder / "splits_final.json").read_text()
    (folder / "splits_final.json").write_text(splits.replace('"val":', f'"train": ["{case}"], "val":', 1))


@harmful
def path_as_case(folder: Path, case: str, rng: random.Random) -> None:
    path = folder / rng.choice(_ROLE_FILES)
    name = rng.choice(("../../etc/passwd", "/etc/passwd", f"../imagesTr/{case}", "", ".", "..", "a\u0000b", "\ud800"))
    path.write_text(json.dumps([*json.loads(path.read_text()), name]))


@harmful
def case_in_two_roles(folder: Path, case: str, rng: random.Random) -> None:
    for name in rng.sample(_ROLE_FILES, 2):
        cases = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(sorted({*cases, case})))


@harmful
def case_twice(folder: Path, case: str, rng: random.Random) -> None:
    path = folder / rng.choice(_ROLE_FILES)
    cases = json.loads(path.read_text())
    path.write_text(json.dumps([*cases, cases[0]]))


@harmful
def validates_and_trains(folder: Path, case: str, rng: random.Random) -> None:
    splits = json.loads((folder / "splits_final.json").read_text())
    splits[0]["train"].append(splits[0]["val"][0])
    (folder / "splits_final.json").write_text(json.dumps(splits))


@harmful
def strange_entry(folder: Path, case: str, rng: random.Random) -> None:
    """An entry of dataset.json of another kind; some lead out of the folder."""
    strange: dict[str, tuple[Any, ...]] = {
        "file_ending": ("", "nii.gz", ".", "..", "/../x.nii.gz", ".png", 3, None, [], ".nii.gz/.."),
        "channel_names": ([], {}, "MRI", 1, None, {"1": "MRI"}, {"0": 3}, {"a": "b"}),
        "labels": (
            [],
            {},
            {"background": True},
            {"background": 0, "x": 1.5},
            {"background": 0, "x": -1},
            {"x": [1, 2]},
        ),
        "numTraining": ("three", None, 10**30, True, -1),
        "dataset": (
            [],
            {"../../evil": {"images": [f"imagesTr/{case}_0000{ENDING}"], "label": f"labelsTr/{case}{ENDING}"}},
            {case: {}},
            {case: 3},
            {case: {"images": [], "label": "x"}},
            {case: {"images": [3], "label": None}},
            {case: {"images": ["a\u0000b"], "label": "x"}},
        ),
    }
    description = json.loads((folder / "dataset.json").read_text())
    key = rng.choice(sorted(strange))
    description[key] = rng.choice(strange[key])
    if key == "dataset" and description[key] == []:
        description[key] = "text"  # an empty list is no entry at all
    (folder / "dataset.json").write_text(json.dumps(description))


@sound
def byte_order_mark(folder: Path, case: str, rng: random.Random) -> None:
    path = folder / rng.choice(_ROLE_FILES)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
