"""Read a study file and check all of it before anything runs."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.study import entries
from nnunetv2_mlbseg.study.converter_options import check_converter_options
from nnunetv2_mlbseg.study.description import CONVERTERS, EXISTING, NETWORKS, Dataset, Plan, Study, Variant
from nnunetv2_mlbseg.study.entries import Entries
from nnunetv2_mlbseg.study.report_entries import read_figure, read_table
from noise_synthesis.errors import InputError

SHARED = "shared"  # stands in place of a setting's name in the folders of runs that all settings share
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
TRAINER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LEAST_STAGES = 3  # with 2, nnU-Net's deep supervision has one output, whose weight it sets to 0
FILE_OPTIONS = ("clean", "exclude")  # where they are texts
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


def read_study(file: Path) -> Study:
    """Read and check a study file.

    Raises:
        InputError: one line with the file, the place in it, what stands there and what is expected.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from None
    top = Entries(entries.load(text, str(file)), str(file))
    name = take_name(top, "name", file.stem)
    seeds = tuple(top.take("seeds", entries.whole_list(0)))
    check_distinct(seeds, f"{file}: seeds")
    config = read_config(top, f"{file}: config")
    datasets = {
        key: read_dataset(key, value, file)
        for key, value in named(top.take("datasets", entries.MAPPING), f"{file}: datasets").items()
    }
    places = [f"{dataset.name}/{setting}" for dataset in datasets.values() for setting in dataset.settings]
    variants = {
        key: read_variant(key, value, file, seeds, places)
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


def read_dataset(name: str, content: Any, file: Path) -> Dataset:
    """One data set and its settings."""
    where = f"{file}: dataset {name}"
    dataset = Entries(content, where)
    converter = dataset.take("converter", entries.one_of(*CONVERTERS))
    evaluation = dataset.take("evaluation", entries.TEXT, None)
    options = with_files(dataset.take("options", entries.MAPPING, {}), file, where)
    settings = named(dataset.take("settings", entries.MAPPING), f"{where}: settings")
    settings = {
        setting: with_files(own or {}, file, f"{where}: setting {setting}") for setting, own in settings.items()
    }
    found = Dataset(
        name=name,
        converter=converter,
        source=dataset.take("source", entries.TEXT, None),
        evaluation=None if evaluation is None else beside(file, evaluation, where),
        test=dataset.take("test", entries.BOOL, False),
        options=options,
        settings=settings,
        config=read_config(dataset, f"{where}: config"),
    )
    dataset.finish()
    if converter == EXISTING and (options or any(settings.values()) or evaluation):
        raise InputError(
            f"{where}: converter {EXISTING} takes the raw dataset as it is: no options, evaluation or settings' options"
        )
    if converter != EXISTING:
        for setting, own in settings.items():
            check_converter_options(converter, options, own, where, setting)
    return found


def read_variant(name: str, content: Any, file: Path, seeds: tuple[int, ...], places: list[str]) -> Variant:
    """One row of the tables."""
    where = f"{file}: variant {name}"
    variant = Entries(content or {}, where)
    trainer = variant.take("trainer", entries.TEXT, "nnUNetTrainerMLBSeg")
    if not TRAINER.fullmatch(trainer):
        raise InputError(f"{where}: trainer is '{trainer}', expected the name of a class")
    own_seeds = tuple(variant.take("seeds", entries.whole_list(0), list(seeds)))
    check_distinct(own_seeds, f"{where}: seeds")
    patterns = tuple(variant.take("where", entries.TEXTS, ["*"]))
    for pattern in patterns:
        if not fnmatch.filter(places, pattern):
            raise InputError(f"{where}: where has '{pattern}', which no DATASET/SETTING matches; there are {places}")
    found = Variant(
        name=name,
        title=variant.take("title", entries.TEXT, name),
        trainer=trainer,
        config=read_config(variant, f"{where}: config"),
        shared=variant.take("shared", entries.BOOL, False),
        seeds=own_seeds,
        where=patterns,
    )
    variant.finish()
    return found


def read_config(holder: Entries, where: str) -> Mapping[str, Any]:
    """Configuration of the method; every run sets the seed itself."""
    from nnunetv2_mlbseg.config import check_overrides

    config = dict(holder.take("config", entries.MAPPING, {}))
    check_overrides(where, config)
    if "seed" in config:
        raise InputError(f"{where}: seed is set per run, by 'seeds'")
    return config


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


def named(content: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """A mapping whose keys can be names of folders; there must be one at least."""
    if not content:
        raise InputError(f"{where}: nothing in it")
    for key in content:
        if not isinstance(key, str) or not NAME.fullmatch(key) or key == SHARED:
            raise InputError(
                f"{where}: the name {key!r} cannot be used: letters, digits and _ . + -, and not '{SHARED}'"
            )
    return dict(content)


def take_name(top: Entries, key: str, default: str) -> str:
    """A name that can stand in file names."""
    name: str = top.take(key, entries.TEXT, default)
    if not NAME.fullmatch(name):
        raise InputError(f"{top.where}: {key} is '{name}', expected letters, digits and _ . + -")
    return name


def check_distinct(seeds: tuple[int, ...], where: str) -> None:
    """A seed that stands twice would count one training twice."""
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{where}: {list(seeds)} names a seed twice")


def with_files(options: Any, file: Path, where: str) -> dict[str, Any]:
    """Converter options; files that they name are looked for beside the study file."""
    if not isinstance(options, Mapping):
        raise InputError(f"{where}: options are {entries.shown(options)}, expected a mapping")
    found = {str(key): value for key, value in options.items()}
    for key in FILE_OPTIONS:
        if isinstance(found.get(key), str):
            found[key] = str(beside(file, found[key], where))
    return found


def beside(file: Path, name: str, where: str) -> Path:
    """A file named in the study file: relative to it."""
    path = (file.parent / Path(name).expanduser()).resolve()
    if not path.is_file():
        raise InputError(f"{where}: {name} is not a file in {file.parent}")
    return path
