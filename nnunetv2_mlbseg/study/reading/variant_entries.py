"""The variants of a study file, and the configuration of the method wherever it stands."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.settings.overrides import check_overrides
from nnunetv2_mlbseg.settings.rules import Settings
from nnunetv2_mlbseg.study.reading import entries
from nnunetv2_mlbseg.study.reading.description import Variant
from nnunetv2_mlbseg.study.reading.entries import Entries
from nnunetv2_mlbseg.study.reading.names import check_distinct
from noise_synthesis.safe_io.errors import InputError

TRAINER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DEFAULT_TRAINER = "nnUNetTrainerMLBSeg"

SettingsOf = Callable[[str], type[Settings]]
"""The class of a trainer's settings, by the name of the trainer."""


def read_variant(
    name: str, content: Any, file: Path, seeds: tuple[int, ...], places: list[str], settings_of: SettingsOf
) -> Variant:
    """One row of the tables."""
    where = f"{file}: variant {name}"
    variant = Entries(content or {}, where)
    trainer = variant.take("trainer", entries.TEXT, DEFAULT_TRAINER)
    if not TRAINER.fullmatch(trainer):
        raise InputError(f"{where}: trainer is '{trainer}', expected the name of a class")
    own_seeds = tuple(variant.take("seeds", entries.whole_list(0), list(seeds)))
    check_distinct(own_seeds, f"{where}: seeds")
    patterns = tuple(variant.take("where", entries.TEXTS, ["*"]))
    for pattern in patterns:
        if not fnmatch.filter(places, pattern):
            raise InputError(f"{where}: where has '{pattern}', which no DATASET/SETTING matches; there are {places}")
    settings = settings_of(trainer)
    found = Variant(
        name=name,
        title=variant.take("title", entries.TEXT, name),
        trainer=trainer,
        config=read_config(variant, f"{where}: config", settings),
        keys=frozenset(settings.model_fields),
        shared=variant.take("shared", entries.BOOL, False),
        seeds=own_seeds,
        where=patterns,
    )
    variant.finish()
    return found


def read_config(holder: Entries, where: str, keys: type[Settings]) -> Mapping[str, Any]:
    """Settings of the trainers, checked by their class; every run sets the seed itself."""
    config = dict(holder.take("config", entries.MAPPING, {}))
    check_overrides(keys, where, config)
    if "seed" in config:
        raise InputError(f"{where}: seed is set per run, by 'seeds'")
    return config
