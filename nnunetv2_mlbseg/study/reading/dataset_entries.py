"""The data sets of a study file and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.settings.rules import Settings
from nnunetv2_mlbseg.study.reading import entries
from nnunetv2_mlbseg.study.reading.converter_options import check_converter_options
from nnunetv2_mlbseg.study.reading.description import CONVERTERS, EXISTING, Dataset
from nnunetv2_mlbseg.study.reading.entries import Entries
from nnunetv2_mlbseg.study.reading.names import named
from nnunetv2_mlbseg.study.reading.variant_entries import read_config
from noise_synthesis.safe_io.errors import InputError

FILE_OPTIONS = ("clean", "exclude")  # where they are texts


def read_dataset(name: str, content: Any, file: Path, keys: type[Settings]) -> Dataset:
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
        config=read_config(dataset, f"{where}: config", keys),
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
