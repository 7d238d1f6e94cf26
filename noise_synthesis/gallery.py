"""A picture of every recipe at every level: true against corrupted contours."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from noise_synthesis.calibration.levels import LEVELS
from noise_synthesis.calibration.search import TargetOutOfReach
from noise_synthesis.corrupt import CorruptionResult, corrupt_labels
from noise_synthesis.recipes.confusion import ClassConfusion
from noise_synthesis.recipes.slices import MissingSlices
from noise_synthesis.recipes.table import RECIPES
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import atomic_path
from noise_synthesis.safe_io.label_files import ITK_LABELS, LabelFormat, find_label_files, volume_of
from noise_synthesis.safe_io.volumes import LabelVolume
from noise_synthesis.synthetic_shapes import synthetic_volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN_CASES = 8
# Fill of the true label and line of the corrupted one, per class.
_ONE_CLASS = (("#cfd8e3",), ("#d1345b",))
_MANY_CLASSES = (("#f7d4dd", "#c9e6ea", "#fbe3c0", "#e0d6ee"), ("#c2183f", "#11788a", "#c77700", "#5e3a92"))
_TEXT = "#555555"
_PANEL_INCHES = 1.55
_DOTS_PER_INCH = 130


@dataclass(frozen=True)
class Panel:
    """One case before and after, and its Dice; or why there is nothing to see."""

    clean: LabelVolume | None = None
    corrupted: np.ndarray | None = None
    dice: float | None = None
    problem: str = ""


def synthetic_cases(classes: int) -> dict[str, LabelVolume]:
    """Return a few made-up organs."""
    return {f"organ{seed}": synthetic_volume(seed, classes) for seed in range(SHOWN_CASES)}


def draw_gallery(
    path: Path,
    cases: Mapping[str, LabelVolume] | None = None,
    *,
    seed: int = 0,
    per_slice: bool = True,
    ignore_label: int | None = None,
) -> None:
    """Write a PNG with one column per recipe and one row per level.

    A column shows, at every level, the one case that keeps nearest to the levels, from ``cases`` or, where none are
    given, from made-up organs (with two classes for the recipe that needs neighbours).
    """
    columns = {}
    for recipe in tqdm(RECIPES.values(), "gallery", unit="recipe", disable=None):
        own = cases if cases is not None else synthetic_cases(2 if recipe.name == ClassConfusion.name else 1)
        corrupt = partial(corrupt_labels, own, seed=seed, recipe=recipe, per_slice=per_slice, ignore_label=ignore_label)
        columns[recipe.name] = _column(own, corrupt)
    _save(path, columns)


def some_of_folder(folder: Path, labels: LabelFormat = ITK_LABELS) -> dict[str, LabelVolume]:
    """Read a few label files of a folder, spread evenly over their names."""
    files = find_label_files(folder)
    names = list(files)[:: -(-len(files) // SHOWN_CASES)]
    return {name: volume_of(labels, files[name]) for name in names}


def _column(cases: Mapping[str, LabelVolume], corrupt: Callable[[float], CorruptionResult]) -> dict[str, Panel]:
    results: dict[str, CorruptionResult] = {}
    problems: dict[str, str] = {}
    for level, target in LEVELS.items():
        try:
            results[level] = corrupt(target)
        except TargetOutOfReach as error:
            problems[level] = f"out of reach:\nnearest {error.nearest:.2f}"
        except InputError:
            problems[level] = "not for\nthese labels"
    if not results:
        return {level: Panel(problem=problem) for level, problem in problems.items()}
    case = _most_typical({level: result.plan.dice for level, result in results.items()})
    shown = {
        level: Panel(cases[case], result.labels[case], result.plan.dice[case]) for level, result in results.items()
    }
    return {level: shown[level] if level in shown else Panel(problem=problems[level]) for level in LEVELS}


def _most_typical(dice: dict[str, dict[str, float]]) -> str:
    """The case that keeps nearest to the target of every level."""
    cases = next(iter(dice.values()))
    return min(cases, key=lambda case: max(abs(dice[level][case] - LEVELS[level]) for level in dice))


def _save(path: Path, columns: dict[str, dict[str, Panel]]) -> None:
    from matplotlib.figure import Figure

    levels = sorted(LEVELS, reverse=True)
    figure = Figure(figsize=(_PANEL_INCHES * len(columns) + 0.9, _PANEL_INCHES * len(levels) + 1.3))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.05, wspace=0, hspace=0)
    axes = figure.subplots(len(levels), len(columns), squeeze=False)
    for column, (name, panels) in enumerate(columns.items()):
        from_the_side = name == MissingSlices.name
        note = " (side view)" if from_the_side else ""
        axes[0][column].set_title(name.replace("_", "\n", 1) + note, fontsize=9)
        for row, level in enumerate(levels):
            _draw(axes[row][column], panels[level], from_the_side)
    for row, level in enumerate(levels):
        text = f"{level}\nmean Dice\n{LEVELS[level]:.4f}"
        axes[row][0].set_ylabel(text, fontsize=9, rotation=0, ha="right", va="center", labelpad=8)
    legend = "solid: true label   ·   outlined: corrupted label   ·   below each picture: the Dice of the case it shows"
    figure.supxlabel(f"\n{legend}", fontsize=9, color=_TEXT)
    with atomic_path(path) as temporary:
        figure.savefig(os.fspath(temporary), dpi=_DOTS_PER_INCH, facecolor="white")


def _draw(axes: Axes, panel: Panel, from_the_side: bool) -> None:
    axes.set(xticks=[], yticks=[], box_aspect=1)
    for spine in axes.spines.values():
        spine.set_color("#e3e3e3")
    if panel.clean is None or panel.corrupted is None:
        axes.text(0.5, 0.5, panel.problem, ha="center", va="center", fontsize=8, color=_TEXT, transform=axes.transAxes)
        return
    clean, noisy, voxel_mm = _view(panel.clean, panel.corrupted, from_the_side)
    values = np.unique(clean[clean > 0]).tolist()
    fills, lines = _ONE_CLASS if len(values) == 1 else _MANY_CLASSES
    extent = (0.0, voxel_mm[1] * clean.shape[1], 0.0, voxel_mm[0] * clean.shape[0])
    for index, value in enumerate(values):
        axes.contourf(clean == value, levels=[0.5, 1.5], colors=[fills[index % len(fills)]], extent=extent)
    for index, value in enumerate(values):
        colour = lines[index % len(lines)]
        if len(values) == 1:
            axes.contourf(noisy == value, levels=[0.5, 1.5], colors=[colour], alpha=0.12, extent=extent)
        axes.contour(noisy == value, levels=[0.5], colors=[colour], linewidths=1.3, extent=extent)
    _frame(axes, clean > 0, voxel_mm)
    axes.set_xlabel(f"{panel.dice:.2f}", fontsize=8, color=_TEXT, labelpad=2)


def _frame(axes: Axes, mask: np.ndarray, voxel_mm: tuple[float, float]) -> None:
    """Show a square about the true label, with about as much room around it as the strongest noise takes."""
    rows, columns = np.nonzero(mask)
    middle = [(found.min() + found.max() + 1) / 2 * step for found, step in zip((rows, columns), voxel_mm, strict=True)]
    span = max((found.max() - found.min() + 1) * step for found, step in zip((rows, columns), voxel_mm, strict=True))
    half = 0.95 * span
    axes.set_xlim(middle[1] - half, middle[1] + half)
    axes.set_ylim(middle[0] - half, middle[0] + half)


def _view(
    clean: LabelVolume, noisy: np.ndarray, from_the_side: bool
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Both labels in the slice with most foreground (axial; coronal from the side), and the pixel size in mm."""
    axis = 1 if from_the_side else 0
    areas = np.count_nonzero(clean.voxels, axis=tuple(other for other in range(3) if other != axis))
    pictures = [voxels.take(int(areas.argmax()), axis) for voxels in (clean.voxels, noisy)]
    row_mm, column_mm = (step for other, step in enumerate(clean.spacing_mm) if other != axis)
    finer = max(1, round(row_mm / column_mm)) * 4 if from_the_side else 1
    first, second = (np.pad(np.repeat(picture, finer, axis=0), 1) for picture in pictures)
    return first, second, (row_mm / finer, column_mm)
