"""A user's own nnU-Net dataset with roles and folds, as a new dataset of links; the user's stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dataset_conversion.own_roles import Split
from dataset_conversion.raw.cases import TRUE_LABELS, CaseReport, CaseSettings, Fate
from dataset_conversion.raw.dataset import RawCase, RawDataset, link_or_copy
from dataset_conversion.raw.folder import building, make_label_folders, write_dataset_json
from dataset_conversion.raw.formats import dataset_format
from dataset_conversion.raw.linked_cases import LinkedCase
from dataset_conversion.raw.names import dataset_name
from dataset_conversion.raw.parallel import over_cases
from dataset_conversion.supervision.files import PROVENANCE_FILE, SUPERVISION_FOLDER, write_splits, write_supervision
from dataset_conversion.supervision.sources import write_sources
from noise_synthesis.safe_io.files import write_json
from noise_synthesis.safe_io.version import tool_version


def write_split_dataset(
    dataset: RawDataset,
    added: Sequence[RawCase],
    split: Split,
    target: Path,
    processes: int,
    further: Mapping[str, Mapping[str, Path]] | None = None,
) -> None:
    """Write the new dataset: links to all files, all-ignore labels for unlabeled cases, role files, folds.

    ``further``: more labels by case, by the folder of the new dataset that they go to.
    """
    labels = dict(dataset.labels)
    if split.supervision.unlabeled:
        labels.setdefault("ignore", dataset.label_values[-1] + 1)
    # A noisy case of a real dataset has one label, the noisy one, which is linked like a clean one.
    fates: dict[str, Fate] = dict.fromkeys((*split.supervision.clean, *split.supervision.noisy), "clean")
    fates |= dict.fromkeys(split.evaluation, "evaluation")
    fates |= dict.fromkeys(split.supervision.unlabeled, "unlabeled")
    values = dataset.label_values
    settings = CaseSettings(None, tuple(values), labels.get("ignore", values[-1] + 1))
    files = dataset_format(dataset.description, dataset.examples)
    taken = [case for case in (*dataset.cases, *added) if case.name in fates]
    beside = {
        case.name: {folder: labels[case.name] for folder, labels in (further or {}).items() if case.name in labels}
        for case in taken
    }
    sources = [LinkedCase(case, dataset.channels, files, beside[case.name]) for case in taken]
    with building(target) as folder:
        make_label_folders(folder, fates)
        jobs = [(source, fates[source.name]) for source in sources]
        over_cases(partial(_write, target=folder, settings=settings), jobs, processes, "linking")
        _drop_if_empty(folder / TRUE_LABELS)
        _link_test_images(dataset.folder, folder)
        write_dataset_json(
            folder,
            channel_names=dataset.description["channel_names"],
            labels=labels,
            training_cases=len(sources),
            file_ending=dataset.file_ending,
            **dataset.further,
        )
        write_supervision(folder, split.supervision)
        write_splits(folder, split.folds)
        if split.sources:
            write_sources(folder, split.sources)
        write_json(folder / SUPERVISION_FOLDER / PROVENANCE_FILE, _provenance(dataset, added, split))


def _write(case: LinkedCase, fate: Fate, target: Path, settings: CaseSettings) -> CaseReport:
    return case.write(fate, target, settings)


def _drop_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _link_test_images(source: Path, target: Path) -> None:
    for name in ("imagesTs", "labelsTs"):
        if (source / name).is_dir():
            (target / name).mkdir()
            for path in (source / name).iterdir():
                if path.is_file():
                    link_or_copy(path, target / name / path.name)


def _provenance(dataset: RawDataset, added: Sequence[RawCase], split: Split) -> dict[str, Any]:
    return {
        "tool": {"name": "nnunetv2_mlbseg", "version": tool_version()},
        "source": {"data_set": "own", "layout": "nnunet", "folder": dataset_name(dataset.folder)},
        "options": dict(split.options),
        "seed": split.options.get("seed"),
        "noise": {"level": None},
        "added_unlabeled": sorted({case.name for case in added} & set(split.supervision.unlabeled)),
        "split": {
            **{role: sorted(cases) for role, cases in split.supervision.by_role().items()},
            "evaluation": sorted(split.evaluation),
        },
    }
