"""Cases of ``imagesTs``, and patients across folds: does anything that is scored also train?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dataset_conversion.checks.cases import CaseFacts
from dataset_conversion.checks.leaks import (
    Leak,
    recorded_pattern,
    shared_images,
    shared_names,
    shared_patients,
    test_cases,
)
from dataset_conversion.checks.report import PROBLEM, WARNING, Finding
from dataset_conversion.raw.dataset import RawDataset
from dataset_conversion.raw.fingerprint import content_hash
from dataset_conversion.raw.formats import DatasetFormat
from dataset_conversion.raw.parallel import over_cases
from dataset_conversion.supervision.files import Supervision, readable_folds
from noise_synthesis.safe_io.errors import InputError


def leakage(
    dataset: RawDataset,
    facts: Sequence[CaseFacts],
    supervision: Supervision | None,
    splits: Any,
    files: DatasetFormat,
    processes: int,
) -> Iterator[Finding]:
    """Name test cases that also train, and patients on both sides of a fold (by the pattern ``split`` was given)."""
    training = set(dataset.names) if supervision is None else set(supervision.roles())
    tests = test_cases(dataset.folder, dataset.file_ending)
    jobs = [(case, path, dataset, files) for case, path in tests.items()]
    read = over_cases(_image_hash, jobs, processes, "reading test cases") if jobs else []
    for case, _, error in read:
        if error:
            yield Finding("unreadable image", WARNING, f"test case {case}: {error}", (case,))
    images = {case.name: case.image_hash for case in facts if case.image_hash is not None and case.name in training}
    yield from _findings(shared_names(training, tests, "test"))
    yield from _findings(shared_images(images, {case: digest for case, digest, _ in read if digest}, "test"))
    try:
        pattern = recorded_pattern(dataset.folder)
        yield from _findings(shared_patients(training, tests, "test", pattern))
        for number, fold in enumerate(readable_folds(splits)):
            yield from _findings(shared_patients(fold["train"], fold["val"], f"fold {number}: validation", pattern))
    except InputError as error:
        yield Finding("provenance", PROBLEM, str(error))


def _image_hash(
    case: str, first: Path, dataset: RawDataset, files: DatasetFormat
) -> tuple[str, str | None, str | None]:
    """Name, hash of the image and error; channels are found by the first one's name."""
    ending = dataset.file_ending
    channels = [first.with_name(f"{case}_{channel:04d}{ending}") for channel in range(dataset.files_per_case)]
    try:
        return case, content_hash(files.channels(channels).voxels), None
    except InputError as error:
        return case, None, str(error)


def _findings(leaks: Iterator[Leak]) -> Iterator[Finding]:
    for leak in leaks:
        yield Finding("leakage", PROBLEM, f"{leak.message}; its score would be too good", (leak.case,))
