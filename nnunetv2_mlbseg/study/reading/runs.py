"""From a study to its data folders and runs, each in a folder named after what it is and a digest of what made it.

A changed study file therefore never meets results of other settings: they stay, and the changed runs get new folders.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnunetv2_mlbseg.study.reading.dataset_entries import FILE_OPTIONS
from nnunetv2_mlbseg.study.reading.description import EXISTING, Dataset, Study, Variant
from nnunetv2_mlbseg.study.reading.names import SHARED
from noise_synthesis.safe_io.text_lists import read_name_list

DATASET_ID = 1  # every setting has folders of its own, so numbers need not differ


@dataclass(frozen=True)
class Data:
    """One setting of a data set, converted and preprocessed in folders of its own."""

    name: str  # DATASET/SETTING
    folder: str  # below the study's output folder
    dataset: Dataset
    options: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One training and its evaluation."""

    name: str  # DATASET/SETTING/VARIANT/seed_N; the setting is "shared" for a run that all settings share
    folder: str  # below the study's output folder
    data: Data
    variant: Variant
    seed: int
    config: dict[str, Any]  # what MLBSEG_CONFIG holds
    places: tuple[str, ...]  # the DATASET/SETTINGs whose rows it fills


def data_of(study: Study) -> dict[str, Data]:
    """All settings of all data sets, by name."""
    found = {}
    for dataset in study.datasets.values():
        for setting in dataset.settings:
            options = dataset.options_in(setting)
            made_from = {
                "converter": dataset.converter,
                "options": {key: content_of(key, value) for key, value in options.items()},
                "evaluation": dataset.evaluation and read_name_list(dataset.evaluation),
                "plan": dataclasses.asdict(study.plan),
            }
            name = f"{dataset.name}/{setting}"
            found[name] = Data(name, f"data/{name}-{digest(made_from)}", dataset, options)
    return found


def runs_of(study: Study, only: Sequence[str] = ("*",)) -> list[Run]:
    """All runs in the order in which they start: one seed after the other, in each the order of the study file.

    Args:
        only: patterns; a run is taken if its name matches one.
    """
    data, found = data_of(study), []
    seeds = list(dict.fromkeys(seed for variant in study.variants.values() for seed in variant.seeds))
    for seed in seeds:
        for dataset in study.datasets.values():
            for variant in study.variants.values():
                if seed in variant.seeds:
                    found += runs_of_variant(study, dataset, variant, seed, data)
    return [run for run in found if any(fnmatch.fnmatchcase(run.name, pattern) for pattern in only)]


def runs_of_variant(study: Study, dataset: Dataset, variant: Variant, seed: int, data: dict[str, Data]) -> list[Run]:
    """The runs of a row with one seed: one per setting, or one for all of them."""
    places = [f"{dataset.name}/{setting}" for setting in dataset.settings]
    places = [place for place in places if any(fnmatch.fnmatchcase(place, pattern) for pattern in variant.where)]
    if not places:
        return []
    if variant.shared:  # always on the first setting's data, whichever rows are asked for
        first = f"{dataset.name}/{next(iter(dataset.settings))}"
        return [make_run(study, data[first], variant, seed, SHARED, tuple(places))]
    return [make_run(study, data[place], variant, seed, place.partition("/")[2], (place,)) for place in places]


def make_run(study: Study, data: Data, variant: Variant, seed: int, setting: str, places: tuple[str, ...]) -> Run:
    """One run with its folder."""
    common = {**study.config, **data.dataset.config}
    config = {key: value for key, value in common.items() if key in variant.keys} | {**variant.config, "seed": seed}
    made_from = {"data": data.folder, "trainer": variant.trainer, "config": config, "environment": study.environment}
    name = f"{data.dataset.name}/{setting}/{variant.name}/seed_{seed}"
    return Run(name, f"runs/{name}-{digest(made_from)}", data, variant, seed, config, places)


def content_of(key: str, value: Any) -> Any:
    """What decides about the result: of a file its cases, not its path."""
    if key in FILE_OPTIONS and isinstance(value, str):
        return read_name_list(value)
    return value


def digest(content: Any) -> str:
    """Eight hexadecimal digits that differ where the content does."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def dataset_name(data: Data) -> str:
    """Name of the raw dataset, as nnU-Net has it."""
    return f"Dataset{DATASET_ID:03d}_{data.dataset.name.replace('-', '_').replace('.', '_').replace('+', '_')}"


def described(study: Study, runs: Sequence[Run], sources: dict[str, str], executable: str) -> dict[str, Any]:
    """What the Snakefile and the steps read: plain JSON."""
    data = {run.data.name: run.data for run in runs}
    return {
        "name": study.name,
        "python": executable,
        "device": study.device,
        "threads": study.threads,
        "processes": study.processes,
        "retries": study.retries,
        "environment": dict(study.environment),
        "resources": dict(study.resources),
        "networks": list(study.networks),
        "plan": {**dataclasses.asdict(study.plan), "plans_name": study.plan.plans_name},
        "data": {
            one.folder: {
                "name": one.name,
                "dataset": dataset_name(one),
                "converter": one.dataset.converter,
                "existing": one.dataset.converter == EXISTING,
                "source": sources.get(one.dataset.name),
                "evaluation": None if one.dataset.evaluation is None else str(one.dataset.evaluation),
                "test": one.dataset.test,
                "options": one.options,
            }
            for one in data.values()
        },
        "runs": {
            run.folder: {
                "name": run.name,
                "data": run.data.folder,
                "trainer": run.variant.trainer,
                "config": run.config,
            }
            for run in runs
        },
    }
