"""All checks of a raw dataset with supervision files, put together."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from dataset_conversion.checks.cases import CaseFacts, inspect_case
from dataset_conversion.checks.duplicates import duplicates
from dataset_conversion.checks.held_out import leakage
from dataset_conversion.checks.nnunet import encodings, nnunet_integrity
from dataset_conversion.checks.preprocessed import stale_preprocessing
from dataset_conversion.checks.report import PROBLEM, WARNING, Finding
from dataset_conversion.checks.sets import classes_not_shown, ct_statistics, label_contents, outliers, without_a_place
from dataset_conversion.raw.cases import FORMER_LABELS
from dataset_conversion.raw.companions import companions
from dataset_conversion.raw.dataset import RawCase, RawDataset, read_raw_dataset
from dataset_conversion.raw.formats import DatasetFormat, dataset_format
from dataset_conversion.raw.further import cases_with_labels, further_sources, labelled_twice
from dataset_conversion.raw.parallel import over_cases, processes_worth
from dataset_conversion.supervision.files import (
    SPLITS_FILE,
    SUPERVISION_FOLDER,
    Supervision,
    name_some,
    problems,
    read_splits,
    read_supervision,
)
from dataset_conversion.supervision.sources import read_sources, source_problems
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import problems_of


def check_dataset(folder: Path, processes: int, *, with_nnunet: bool = True) -> tuple[int, list[Finding]]:
    """Return the number of cases and everything found. Problems of one check do not keep the others from running."""
    try:
        dataset = read_raw_dataset(folder)
        files = dataset_format(dataset.description, dataset.examples)
    except InputError as error:
        return 0, [Finding("dataset.json", PROBLEM, str(error))]
    with ThreadPoolExecutor(1) as beside:  # nnU-Net's check is a process of its own; it runs while ours reads
        nnunet = beside.submit(nnunet_integrity, folder, processes) if with_nnunet else None
        findings = _ours(dataset, files, processes)
        return len(dataset.cases), [*findings, *(nnunet.result() if nnunet else ())]


def _ours(dataset: RawDataset, files: DatasetFormat, processes: int) -> list[Finding]:
    findings = [*_description(dataset), *_stray_files(dataset, files), *encodings(dataset.folder)]
    supervision, splits, found = _read_roles(dataset)
    findings += found
    processes = processes_worth(processes, (path for case in dataset.cases for path in (*case.images, case.label)))
    jobs = [(case, dataset, files) for case in dataset.cases]
    facts: list[CaseFacts] = over_cases(inspect_case, jobs, processes, "reading cases")
    findings += [finding for case in facts for finding in case.findings]
    findings += label_contents(facts, supervision, dataset.ignore_label)
    findings += classes_not_shown(facts, supervision, splits, dataset.labels)
    findings += outliers(facts)
    findings += duplicates(facts, splits)
    findings += leakage(dataset, facts, supervision, splits, files, processes)
    findings += stale_preprocessing(dataset, facts, processes)
    return findings


def _description(dataset: RawDataset) -> Iterator[Finding]:
    """dataset.json against itself and the folder."""
    stated, present = dataset.description["numTraining"], len(dataset.cases)
    if stated != present:
        yield Finding(
            "dataset.json", PROBLEM, f"dataset.json: numTraining is {stated}, but imagesTr has {present} cases"
        )
    for problem in problems_of(dataset.description):
        yield Finding("dataset.json", PROBLEM, problem)


def _stray_files(dataset: RawDataset, format: DatasetFormat) -> Iterator[Finding]:
    """Labels without an image, and files nnU-Net would overlook."""
    if "dataset" in dataset.description:
        return
    known = {path.name for case in dataset.cases for path in (*case.images, case.label)}
    known |= {name for case in dataset.cases for name in _beside(case, format)}
    for folder_name in ("imagesTr", "labelsTr"):
        folder = dataset.folder / folder_name
        files = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
        stray = sorted(name for name in files - known if not name.startswith("."))
        hidden = sorted(name for name in files if name.startswith(".") and name.endswith(dataset.file_ending))
        if hidden:
            message = f"{folder_name}: nnU-Net takes hidden files for cases, delete them: {name_some(hidden)}"
            yield Finding("stray file", PROBLEM, message)
        if stray:
            ending = dataset.file_ending
            means = "label without an image" if folder_name == "labelsTr" else f"not named <case>_0000{ending}"
            yield Finding("stray file", WARNING, f"{folder_name}: {means}, or another format: {name_some(stray)}")


def _beside(case: RawCase, format: DatasetFormat) -> Iterator[str]:
    """Names of the files that belong to a case's images and label; a file that cannot be read has none."""
    for path in (*case.images, case.label):
        with suppress(InputError, OSError):
            yield from companions(path, case.name, format, is_image=path != case.label)


def _read_roles(dataset: RawDataset) -> tuple[Supervision | None, Any, list[Finding]]:
    findings: list[Finding] = []
    supervision, splits = None, None
    try:
        splits = read_splits(dataset.folder, dataset.names)
    except InputError as error:
        findings.append(Finding(SPLITS_FILE, PROBLEM, str(error)))
        splits = {}
    try:
        supervision = read_supervision(dataset.folder, dataset.names)
    except InputError as error:
        findings.append(Finding(SUPERVISION_FOLDER, PROBLEM, str(error)))
        return None, splits, findings
    unread = findings != []
    for line in problems(supervision, splits, set(dataset.names)):
        if not (unread and line.startswith(SPLITS_FILE)):
            findings.append(Finding("roles and folds", PROBLEM, line))
    findings += _sources(dataset, supervision)
    if supervision.unlabeled and dataset.ignore_label is None:
        findings.append(
            Finding("dataset.json", PROBLEM, "dataset.json: unlabeled cases, but no 'ignore' label (the highest value)")
        )
    findings += without_a_place(dataset, supervision, splits)
    findings += ct_statistics(dataset.description["channel_names"].values(), supervision)
    return supervision, splits, findings


def _sources(dataset: RawDataset, supervision: Supervision) -> list[Finding]:
    """Sources of labels; former labels, which only clean cases have; and further labels, of clean and noisy ones."""
    clean, labelled = set(supervision.clean), {*supervision.clean, *supervision.noisy}
    former = cases_with_labels(dataset.folder / FORMER_LABELS, dataset.file_ending, dataset.names)
    findings = _not_used(FORMER_LABELS, set(former) - clean, "is not clean")
    further = {}
    for source, folder in further_sources(dataset.folder).items():
        further[source] = cases_with_labels(folder, dataset.file_ending, dataset.names)
        findings += _not_used(folder.name, set(further[source]) - labelled, "is neither noisy nor clean")
    try:
        sources = read_sources(dataset.folder, dataset.names)
        lines = source_problems(sources, supervision, former) + labelled_twice(further, sources, supervision.noisy)
    except InputError as error:
        lines = [str(error)]
    return [*findings, *(Finding("sources", PROBLEM, line) for line in lines)]


def _not_used(folder: str, cases: set[str], why: str) -> list[Finding]:
    message = f"{folder}: not used, as the case {why}: {name_some(sorted(cases))}"
    return [Finding("unused", WARNING, message, tuple(sorted(cases)))] if cases else []
