"""Cases that are scored and also train: under their own name, under another one, or as the same patient."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_conversion.raw.fingerprint import file_hash
from dataset_conversion.supervision.files import PROVENANCE_FILE, SUPERVISION_FOLDER, name_some
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import read_json
from noise_synthesis.safe_io.text import composed


@dataclass(frozen=True)
class Leak:
    """A held-out ``case`` that training has seen; ``message`` says how."""

    case: str
    message: str


def shared_names(training: Collection[str], held_out: Iterable[str], kind: str) -> Iterator[Leak]:
    """Held-out cases that train under the same name; ``kind`` ("validation", "test") begins the message."""
    trains = set(map(composed, training))
    for case in held_out:
        if composed(case) in trains:
            yield Leak(case, f"{kind} case {case} also trains")


def shared_images(training: Mapping[str, str], held_out: Mapping[str, str], kind: str) -> Iterator[Leak]:
    """Held-out cases with the image of a training case of another name; both map cases to a hash of their image."""
    owners: dict[str, list[str]] = {}
    for case, digest in training.items():
        owners.setdefault(digest, []).append(case)
    for case, digest in held_out.items():
        twins = [other for other in owners.get(digest, []) if other != case]
        if twins:
            yield Leak(case, f"{kind} case {case} has the image of training case {name_some(twins)}")


def shared_patients(
    training: Iterable[str], held_out: Iterable[str], kind: str, patient_regex: str | None
) -> Iterator[Leak]:
    """Held-out cases of a patient that also trains; a name in which the pattern finds no patient is nobody else's."""
    if patient_regex is None:
        return
    patients: dict[str, list[str]] = {}
    for case in training:
        patient = patient_of(case, patient_regex)
        if patient:
            patients.setdefault(patient, []).append(case)
    for case in held_out:
        patient = patient_of(case, patient_regex)
        others = [other for other in patients.get(patient or "", []) if other != case]
        if others:
            yield Leak(case, f"{kind} case {case} is of patient {patient}, as training case {name_some(others)}")


def patient_of(case: str, patient_regex: str) -> str | None:
    """The pattern's first group (or whole match) in a case's name.

    Raises:
        InputError: it is not a regular expression.
    """
    try:
        pattern = re.compile(patient_regex)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(f"patient pattern {patient_regex!r}: not a regular expression ({error})") from None
    match = pattern.search(case)
    return (match.group(1) if pattern.groups else match.group(0)) if match else None


def recorded_pattern(folder: Path) -> str | None:
    """The pattern that ``--patient-regex`` of ``mlbseg split`` or ``convert nnunet`` noted below ``folder``, or None.

    Raises:
        InputError: the file is not what the command writes.
    """
    path = folder / SUPERVISION_FOLDER / PROVENANCE_FILE
    if not path.is_file():
        return None
    content: Any = read_json(path)
    options = content.get("options", {}) if isinstance(content, dict) else None
    pattern = options.get("patient_regex") if isinstance(options, dict) else path
    if pattern is None or isinstance(pattern, str):
        return pattern
    raise InputError(f"{path}: expected an object with the options of the command that made the dataset")


def test_cases(raw_folder: Path, file_ending: str) -> dict[str, Path]:
    """First channel's file of every case in ``imagesTs``, by name; empty where there is no such folder."""
    folder, last = raw_folder / "imagesTs", f"_0000{file_ending}"
    if not folder.is_dir():
        return {}
    return {p.name[: -len(last)]: p for p in sorted(folder.iterdir()) if p.name.endswith(last) and p.is_file()}


def same_files(training: Mapping[str, Path], held_out: Mapping[str, Path], kind: str) -> Iterator[Leak]:
    """Like `shared_images`, by the bytes of the files; only files of equal size are read."""
    sizes = {case: path.stat().st_size for case, path in (*training.items(), *held_out.items()) if path.is_file()}
    common = {sizes[case] for case in training if case in sizes} & {sizes[case] for case in held_out if case in sizes}

    def hashed(files: Mapping[str, Path]) -> dict[str, str]:
        return {case: file_hash(path) for case, path in files.items() if sizes.get(case) in common}

    yield from shared_images(hashed(training), hashed(held_out), kind)


def refuse(found: Iterable[Leak], allowed: Collection[str], where: str) -> list[str]:
    """Return what was allowed by name, for the log.

    Raises:
        InputError: anything else; the line begins with ``where``.
    """
    leaks, known = list(dict.fromkeys(found)), set(map(composed, allowed))
    refused = [leak.message for leak in leaks if composed(leak.case) not in known]
    if refused:
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise InputError(
            f"{where}: scores would be too good, {'; '.join(refused[:5])}{more}. Take these cases out of training or "
            "of the held-out set, or name the held-out ones in the configuration key allow_leakage"
        )
    return [leak.message for leak in leaks]
