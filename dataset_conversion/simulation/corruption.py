"""Noisy labels for the noisy cases of a dataset folder, from their true ones: one calibration over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dataset_conversion.raw.cases import FILE_ENDING, TRUE_LABELS
from dataset_conversion.raw.parallel import over_cases
from noise_synthesis.calibration.levels import parse_level
from noise_synthesis.corrupt import CaseCorruption
from noise_synthesis.region_noise import RegionCorruption, plan_noise
from noise_synthesis.safe_io.label_files import ITK_LABELS, LabelFormat, volume_of
from noise_synthesis.safe_io.structures import Structures
from noise_synthesis.safe_io.volumes import LabelVolume

Corruption = CaseCorruption | RegionCorruption


@dataclass(frozen=True)
class NoiseSettings:
    """The noise options of a command. ``level`` is a level's name or a Dice as text."""

    level: str
    recipe: str
    per_slice: bool
    seed: int


def corrupt_noisy_labels(
    folder: Path,
    names: Sequence[str],
    settings: NoiseSettings,
    processes: int,
    *,
    labels: LabelFormat = ITK_LABELS,
    file_ending: str = FILE_ENDING,
    structures: Structures | None = None,
) -> dict[str, Any]:
    """Write ``labelsTr/<case>`` for the named cases, corrupted from ``labelsTr_true/<case>``.

    ``labels`` reads and writes the files (default: SimpleITK). ``structures`` are what the labels name; voxels of the
    ignore label stay as they are.

    Returns:
        What the provenance file says about the noise: level, recipe, parameters, Dice per class and case.
        ``{"level": None}`` if there is no case to corrupt.
    """
    if not names:
        return {"level": None}
    files = {name: folder / TRUE_LABELS / (name + file_ending) for name in names}
    loaders: Mapping[str, Callable[[], LabelVolume]] = {
        name: partial(volume_of, labels, path) for name, path in files.items()
    }
    with tqdm(desc="calibrating the noise", unit=" steps") as bar:
        plan = plan_noise(
            loaders,
            parse_level(settings.level),
            settings.seed,
            recipe=settings.recipe,
            per_slice=settings.per_slice,
            structures=structures,
            ignore_label=structures and structures.ignore,
            processes=processes,
            progress=partial(_show, bar),
        )
    jobs = [(files[name], folder / "labelsTr" / (name + file_ending), plan.for_case(name)) for name in names]
    over_cases(partial(write_corrupted, labels), jobs, processes, "writing noisy labels")
    return {"level": settings.level, **plan.provenance()}


def write_corrupted(labels: LabelFormat, true_path: Path, noisy_path: Path, corruption: Corruption) -> None:
    """Corrupt one label file into another of the same grid and format."""
    volume, grid = labels.read(true_path)
    labels.write(corruption.apply(volume), grid, noisy_path)


def _show(bar: tqdm, event: str) -> None:
    bar.update()
    bar.set_postfix_str(event, refresh=False)
