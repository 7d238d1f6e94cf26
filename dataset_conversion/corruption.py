"""Noisy labels for the noisy cases of a dataset folder, from their true ones: one calibration over all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from dataset_conversion.cases import FILE_ENDING, TRUE_LABELS, read_image, write_image
from dataset_conversion.parallel import over_cases
from noise_synthesis.corrupt import CaseCorruption, plan_corruption
from noise_synthesis.levels import parse_level
from noise_synthesis.volumes import LabelVolume


@dataclass(frozen=True)
class NoiseSettings:
    """The noise options of a command. ``level`` is a level's name or a Dice as text."""

    level: str
    recipe: str
    per_slice: bool
    seed: int


def corrupt_noisy_labels(
    folder: Path, names: Sequence[str], settings: NoiseSettings, processes: int, ignore_label: int | None = None
) -> dict[str, Any]:
    """Write ``labelsTr/<case>`` for the named cases, corrupted from ``labelsTr_true/<case>``.

    Returns:
        What the provenance file says about the noise: level, recipe, parameters, Dice per case. ``{"level": None}`` if
        there is no case to corrupt.
    """
    if not names:
        return {"level": None}
    files = {name: folder / TRUE_LABELS / (name + FILE_ENDING) for name in names}
    loaders: Mapping[str, Callable[[], LabelVolume]] = {
        name: partial(read_label_volume, path) for name, path in files.items()
    }
    with tqdm(desc="calibrating the noise", unit=" steps") as bar:
        plan = plan_corruption(
            loaders,
            parse_level(settings.level),
            settings.seed,
            recipe=settings.recipe,
            per_slice=settings.per_slice,
            ignore_label=ignore_label,
            processes=processes,
            progress=partial(_show, bar),
        )
    jobs = [(files[name], folder / "labelsTr" / (name + FILE_ENDING), plan.for_case(name)) for name in names]
    over_cases(write_corrupted, jobs, processes, "writing noisy labels")
    return {"level": settings.level, **plan.provenance()}


def read_label_volume(path: Path) -> LabelVolume:
    """Read a label file for the noise recipes: array and spacing as (z, y, x)."""
    return as_volume(read_image(path))


def as_volume(label: sitk.Image) -> LabelVolume:
    """Return array and spacing as (z, y, x); a single slice becomes a volume of one, its third spacing 1 mm."""
    array, spacing = sitk.GetArrayFromImage(label), label.GetSpacing()[::-1]
    if array.ndim == 2:
        array, spacing = array[None], (1.0, *spacing)
    return LabelVolume(array, spacing)


def write_corrupted(true_path: Path, noisy_path: Path, corruption: CaseCorruption) -> None:
    """Corrupt one label file into another of the same geometry and data type."""
    true = read_image(true_path)
    noisy = corruption.apply(as_volume(true)).reshape(sitk.GetArrayViewFromImage(true).shape)
    image = sitk.GetImageFromArray(np.ascontiguousarray(noisy))
    image.CopyInformation(true)
    write_image(image, noisy_path)


def _show(bar: tqdm, event: str) -> None:
    bar.update()
    bar.set_postfix_str(event, refresh=False)
