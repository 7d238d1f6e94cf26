"""What a study file describes, resolved: plain frozen values, no reading and no checking here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXISTING = "existing"  # a raw dataset that has roles already
CONVERTERS = ("la", "promise12", "nnunet", EXISTING)
NETWORKS = ("student", "teacher", "warmup")
FINAL = "final"  # checkpoint_final.pth, as the trainer's own validation predicts with it


@dataclass(frozen=True)
class Plan:
    """Which of nnU-Net's configurations trains, and what is changed in it."""

    base: str = "2d"
    planner: str | None = None
    configuration: str = "2d"  # other than base if anything is changed
    patch_size: tuple[int, ...] | None = None
    batch_size: int | None = None
    features: tuple[int, ...] | None = None  # per stage: cuts the network to that many stages
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def plans_name(self) -> str:
        """Identifier of the plans file."""
        return "nnUNetPlans" if self.planner is None else "studyPlans"


@dataclass(frozen=True)
class Dataset:
    """Where scans come from, and the settings in which they are used."""

    name: str
    converter: str
    source: str | None  # as the file says it; the command line and the environment precede
    evaluation: Path | None  # list of the held-out cases
    test: bool  # score imagesTs against labelsTs instead of the fold's validation cases
    options: Mapping[str, Any]  # of the converter
    settings: Mapping[str, Mapping[str, Any]]  # converter options that differ, by the name of the setting
    config: Mapping[str, Any]  # of the method, for this data set only

    def options_in(self, setting: str) -> dict[str, Any]:
        """The converter's options in a setting."""
        return {**self.options, **self.settings[setting]}


@dataclass(frozen=True)
class Variant:
    """One row of the tables: a trainer and what is configured differently."""

    name: str
    title: str
    trainer: str
    config: Mapping[str, Any]
    keys: frozenset[str]  # that its trainer knows, of what is configured for all rows
    shared: bool  # does not depend on the noise: runs once per data set and seed
    seeds: tuple[int, ...]
    where: tuple[str, ...]  # patterns of DATASET/SETTING


@dataclass(frozen=True)
class Study:
    """A whole study."""

    name: str
    file: Path
    device: str
    threads: int
    processes: int
    retries: int
    plan: Plan
    config: Mapping[str, Any]
    environment: Mapping[str, str]
    resources: Mapping[str, int | str]
    networks: tuple[str, ...]
    datasets: Mapping[str, Dataset]
    variants: Mapping[str, Variant]
    compare_to: tuple[str, ...]
    tables: tuple[Mapping[str, Any], ...]
    figures: tuple[Mapping[str, Any], ...]
