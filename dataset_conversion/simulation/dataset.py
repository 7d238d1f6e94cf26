"""From the cases of a source to a raw dataset with simulated imperfect supervision: the part all converters share."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from dataset_conversion.raw.cases import FILE_ENDING, CaseReport, CaseSettings, Fate
from dataset_conversion.raw.folder import building, make_label_folders, write_dataset_json
from dataset_conversion.raw.parallel import over_cases
from dataset_conversion.simulation.corruption import NoiseSettings, corrupt_noisy_labels
from dataset_conversion.supervision.files import (
    PROVENANCE_FILE,
    SUPERVISION_FOLDER,
    name_some,
    write_splits,
    write_supervision,
)
from dataset_conversion.supervision.roles import Assignment
from noise_synthesis.safe_io.files import write_json
from noise_synthesis.safe_io.label_files import ITK_LABELS, LabelFormat
from noise_synthesis.safe_io.structures import Structures, all_values
from noise_synthesis.safe_io.version import tool_version
from noise_synthesis.summary import class_lines, warn_of_missed_classes


class Case(Protocol):
    """A case of a source, not read yet; it travels to a worker process, which makes it write itself."""

    @property
    def name(self) -> str:
        """The case's identifier."""

    def write(self, fate: Fate, target: Path, settings: CaseSettings) -> CaseReport:
        """Read, check, and lay the files out below ``target`` as ``fate`` demands."""


@dataclass(frozen=True)
class Source:
    """What a converter found in the folder it was given.

    ``labels``: names and values of classes or regions; with ``ignore`` only if the source's own labels use it.
    ``test_cases`` go to imagesTs and labelsTs. ``description`` enters the provenance file: layout and folder name, no
    path of this machine. ``further`` are more entries for dataset.json.
    """

    description: dict[str, Any]
    cases: tuple[Case, ...]
    labels: dict[str, Any]
    channel_names: dict[str, str] = field(default_factory=lambda: {"0": "MRI"})
    test_cases: tuple[Case, ...] = ()
    file_ending: str = FILE_ENDING
    label_format: LabelFormat = ITK_LABELS
    further: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Identifiers of the cases that can be used for training or validation."""
        return [case.name for case in self.cases]


@dataclass(frozen=True)
class Plan:
    """How a source becomes a dataset. ``options`` are recorded in the provenance file as they are."""

    target: Path
    assignment: Assignment
    size: tuple[int, int] | None
    nominal_spacing: bool
    noise: NoiseSettings
    processes: int
    options: Mapping[str, Any]


def fates_of(assignment: Assignment) -> dict[str, Fate]:
    """Return what happens to each case: its role, with the noisy cases that keep their true label told apart."""
    fates: dict[str, Fate] = {case: "clean" for case in assignment.supervision.clean}
    fates |= dict.fromkeys(assignment.supervision.noisy, "noisy")
    fates |= dict.fromkeys(assignment.true_labels, "true")
    fates |= dict.fromkeys(assignment.supervision.unlabeled, "unlabeled")
    fates |= dict.fromkeys(assignment.evaluation, "evaluation")
    return fates | dict.fromkeys(assignment.test, "test")


def labels_with_ignore(labels: Mapping[str, Any], assignment: Assignment) -> dict[str, Any]:
    """Add nnU-Net's ignore label, the highest value, where there are unlabeled cases and the labels lack it."""
    result = dict(labels)
    if assignment.supervision.unlabeled and "ignore" not in result:
        result["ignore"] = all_values(labels)[-1] + 1
    return result


def simulate(source: Source, plan: Plan) -> Path:
    """Write the raw dataset and return its folder. Nothing appears under the final name unless all went well."""
    fates = fates_of(plan.assignment)
    fates |= dict.fromkeys((case.name for case in source.test_cases), "test")
    labels = labels_with_ignore(source.labels, plan.assignment)
    settings = CaseSettings(
        plan.size,
        allowed_labels=tuple(all_values(source.labels)),
        ignore_label=labels.get("ignore", all_values(source.labels)[-1] + 1),
        nominal_spacing=plan.nominal_spacing,
    )
    with building(plan.target) as folder:
        make_label_folders(folder, fates)
        wanted = [case for case in (*source.cases, *source.test_cases) if case.name in fates]
        jobs = [(case, fates[case.name]) for case in wanted]
        reports = over_cases(partial(_write, target=folder, settings=settings), jobs, plan.processes, "converting")
        noise = corrupt_noisy_labels(
            folder,
            sorted(case for case, fate in fates.items() if fate == "noisy"),
            plan.noise,
            plan.processes,
            labels=source.label_format,
            file_ending=source.file_ending,
            structures=Structures.of({"labels": source.labels, **source.further}),
        )
        write_descriptions(folder, source, plan, labels, noise, reports)
    tell(plan, reports, noise)
    return plan.target


def write_descriptions(
    folder: Path,
    source: Source,
    plan: Plan,
    labels: Mapping[str, Any],
    noise: Mapping[str, Any],
    reports: Sequence[CaseReport],
) -> None:
    """Write dataset.json, the role files, the folds, and how all this came about."""
    assignment = plan.assignment
    splits = assignment.splits()
    write_dataset_json(
        folder,
        channel_names=source.channel_names,
        labels=labels,
        training_cases=len(splits[0]["train"]) + len(splits[0]["val"]),
        file_ending=source.file_ending,
        **source.further,
    )
    write_supervision(folder, assignment.supervision)
    write_splits(folder, splits)
    provenance = {
        "tool": {"name": "nnunetv2_mlbseg", "version": tool_version()},
        "source": source.description,
        "options": dict(plan.options),
        "seed": plan.options.get("seed"),
        "noise": noise,
        "split": {
            **{role: list(cases) for role, cases in assignment.supervision.by_role().items()},
            "noisy_with_true_label": list(assignment.true_labels),
            "evaluation": list(assignment.evaluation),
            "test": sorted([*assignment.test, *(case.name for case in source.test_cases)]),
        },
    }
    if plan.nominal_spacing:
        provenance["true_spacing_mm"] = {report.name: list(report.spacing_mm) for report in reports}
    write_json(folder / SUPERVISION_FOLDER / PROVENANCE_FILE, provenance)


def tell(plan: Plan, reports: Sequence[CaseReport], noise: Mapping[str, Any]) -> None:
    """Print what was made, and each remark once with the cases it is about."""
    counts = Counter(fates_of(plan.assignment).values())
    print(f"{plan.target.name}: " + ", ".join(f"{number} {fate}" for fate, number in counts.items()))
    if noise.get("mean_dice") is not None:
        print(f"noisy labels: mean Dice {noise['mean_dice']:.4f} for a target of {noise['target_dice']:.4f}")
        print("".join(f"{line}\n" for line in class_lines(noise)), end="")
        warn_of_missed_classes(noise)
    about: dict[str, list[str]] = {}
    for report in reports:
        for remark in report.remarks:
            about.setdefault(remark, []).append(report.name)
    for remark, names in about.items():
        print(f"note: {remark} ({len(names)} cases: {name_some(names)})", file=sys.stderr)
    if plan.size is not None and not plan.nominal_spacing:
        warn_of_slicing(reports)


def warn_of_slicing(reports: Sequence[CaseReport]) -> None:
    """Say so where nnU-Net's 2d configuration will not cut the axial slices: it cuts across the coarsest axis."""
    x, y, z = (median(report.spacing_mm[axis] for report in reports) for axis in range(3))
    if z < max(x, y):
        print(
            f"note: nnU-Net's 2d configuration cuts slices across the axis with the largest spacing, here "
            f"{'x' if x >= y else 'y'} (median spacing {x:.3g} x {y:.3g} x {z:.3g} mm), so not axially; "
            f"--nominal-spacing makes the resized axial slices the ones it trains on",
            file=sys.stderr,
        )


def _write(case: Case, fate: Fate, target: Path, settings: CaseSettings) -> CaseReport:
    return case.write(fate, target, settings)
