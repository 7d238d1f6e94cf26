"""Read a study file and check all of it before anything runs."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.study.reading import entries
from nnunetv2_mlbseg.study.reading.dataset_entries import read_dataset
from nnunetv2_mlbseg.study.reading.description import NETWORKS, Plan, Study
from nnunetv2_mlbseg.study.reading.entries import Entries
from nnunetv2_mlbseg.study.reading.names import check_distinct, named, take_name
from nnunetv2_mlbseg.study.reading.report_entries import read_figure, read_table
from nnunetv2_mlbseg.study.reading.variant_entries import DEFAULT_TRAINER, SettingsOf, read_config, read_variant
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.text import read_text

LEAST_STAGES = 3  # with 2, nnU-Net's deep supervision has one output, whose weight it sets to 0
DEVICES = ("cpu", "cuda", "mps")


def shipped() -> dict[str, Path]:
    """The study files that come with the package, by name."""
    folder = Path(str(resources.files("nnunetv2_mlbseg.study") / "studies"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_study(name: str) -> Path:
    """The study file that a user means: a path, or the name of a shipped one."""
    path = Path(name).expanduser()
    if path.is_file():
        return path.absolute()
    if name in shipped():
        return shipped()[name]
    raise InputError(f"{name}: no such file, and no shipped study of this name (there are {', '.join(shipped())})")


def read_study(file: Path, settings_of: SettingsOf) -> Study:
    """Read and check a study file.

    Args:
        settings_of: The class of the settings of a trainer, by its name. That of :data:`DEFAULT_TRAINER` checks what
            all rows share; each row gets those of them that its trainer has.

    Raises:
        InputError: one line with the file, the place in it, what stands there and what is expected.
    """
    top = Entries(entries.load(read_text(file), str(file)), str(file))
    name = take_name(top, "name", file.stem)
    seeds = tuple(top.take("seeds", entries.whole_list(0)))
    check_distinct(seeds, f"{file}: seeds")
    keys = settings_of(DEFAULT_TRAINER)
    config = read_config(top, f"{file}: config", keys)
    datasets = {
        key: read_dataset(key, value, file, keys)
        for key, value in named(top.take("datasets", entries.MAPPING), f"{file}: datasets").items()
    }
    places = [f"{dataset.name}/{setting}" for dataset in datasets.values() for setting in dataset.settings]
    variants = {
        key: read_variant(key, value, file, seeds, places, settings_of)
        for key, value in named(top.take("variants", entries.MAPPING), f"{file}: variants").items()
    }
    study = Study(
        name=name,
        file=file,
        device=top.take("device", entries.one_of(*DEVICES), "cuda"),
        threads=top.take("threads", entries.whole(1), 1),
        processes=top.take("processes", entries.whole(1), 2),
        retries=top.take("retries", entries.whole(0), 1),
        plan=read_plan(top.take("plan", entries.MAPPING, {}), name, f"{file}: plan"),
        config=config,
        environment=read_environment(top, file),
        resources=read_resources(top),
        networks=tuple(top.take("networks", entries.some_of(*NETWORKS), [])),
        datasets=datasets,
        variants=variants,
        compare_to=tuple(top.take("compare_to", entries.some_of(*variants), [])),
        tables=tuple(
            read_table(table, f"{file}: tables, number {number}", datasets, variants)
            for number, table in enumerate(top.take("tables", entries.LIST, []), start=1)
        ),
        figures=tuple(
            read_figure(figure, f"{file}: figures, number {number}", datasets, variants)
            for number, figure in enumerate(top.take("figures", entries.LIST, []), start=1)
        ),
    )
    top.finish()
    return study


def read_plan(content: Any, study: str, where: str) -> Plan:
    """The plan's settings; changed ones become a configuration named after the study."""
    plan = Entries(content, where)
    base = plan.take("base", entries.TEXT, "2d")
    planner = plan.take("planner", entries.TEXT, None)
    patch, batch = plan.take("patch_size", entries.whole_list(1), None), plan.take("batch_size", entries.whole(1), None)
    features = plan.take("features", entries.whole_list(1), None)
    overrides = plan.take("overrides", entries.MAPPING, {})
    plan.finish()
    if features is not None and len(features) < LEAST_STAGES:
        raise InputError(f"{where}: features is {features}, expected {LEAST_STAGES} stages or more")
    changed = any((patch, batch, features, overrides))
    return Plan(
        base=base,
        planner=planner,
        configuration=f"{base}_{study}" if changed else base,
        patch_size=patch and tuple(patch),
        batch_size=batch,
        features=features and tuple(features),
        overrides=overrides,
    )


def read_resources(top: Entries) -> dict[str, int | str]:
    """What a training needs, in Snakemake's words: ``{gpu: 1, mem_mb: 32000, runtime: 720}``."""
    found: dict[str, int | str] = dict(top.take("resources", entries.MAPPING, {}))
    for key, value in found.items():
        if not str(key).isidentifier() or isinstance(value, bool) or not isinstance(value, (int, str)):
            raise InputError(
                f"{top.where}: resources: {key} is {entries.shown(value)}, expected a whole number or a text"
            )
    return found


def read_environment(top: Entries, file: Path) -> dict[str, str]:
    """Further variables of the commands, as texts."""
    found = top.take("environment", entries.MAPPING, {})
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, (str, int)) or isinstance(value, bool):
            raise InputError(f"{file}: environment: {key} is {entries.shown(value)}, expected a text (in quotes)")
    return {key: str(value) for key, value in found.items()}
