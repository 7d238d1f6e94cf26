"""Figures of a study: Dice over the number of views (Fig. 3b), weights of each view over training (Fig. 1 and 3a)."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from nnunetv2_mlbseg.study.reading.description import Study
from nnunetv2_mlbseg.study.reading.paper import reported
from nnunetv2_mlbseg.study.reading.runs import Run
from nnunetv2_mlbseg.study.reporting.results import Cell, read_cells
from nnunetv2_mlbseg.study.reporting.statistics import mean_and_deviation
from noise_synthesis.safe_io.files import atomic_path, read_json

LOG = "mlbseg_log.json"
# Okabe and Ito's palette keeps its contrasts for colour-blind readers; line styles and markers differ as well.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 3)))
SERIES = {
    "without": {"label": "without mean teacher", "colour": "#0072B2", "marker": "o", "paper": "no teacher"},
    "with": {"label": "with mean teacher", "colour": "#D55E00", "marker": "s", "paper": "teacher"},
}
LETTERS_PER_INCH = 9  # of a title
LABELS = {"imperfect": "imperfect label", "pseudo": "pseudo label"}
Curve = NDArray[np.float64]


def write_figures(study: Study, runs: Sequence[Run], out: Path) -> list[Path]:
    """Draw the study's figures as PNG and PDF; one without any finished run is left out."""
    written = []
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for number, described in enumerate(study.figures, start=1):
        draw = draw_dice_over_views if described["kind"] == "dice_over_views" else draw_weights
        with matplotlib.style.context("default"):  # importing nnU-Net sets huge fonts
            figure = draw(study, runs, out, described)
            if figure is None:
                continue
            for ending in ("png", "pdf"):
                path = out / "figures" / f"figure_{number:02d}.{ending}"
                with atomic_path(path) as temporary:
                    figure.savefig(temporary, dpi=130)
        written.append(out / "figures" / f"figure_{number:02d}.png")
    return written


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that draws without a display."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def entitle(figure: Figure, title: str) -> None:
    """A title over the whole figure, in as many lines as its width needs."""
    lines = textwrap.wrap(title, int(LETTERS_PER_INCH * figure.get_figwidth()))
    figure.suptitle("\n".join(lines), fontsize=12, x=0.01, ha="left")


def draw_dice_over_views(study: Study, runs: Sequence[Run], out: Path, described: Mapping[str, Any]) -> Figure | None:
    """Mean Dice and its deviation over seeds against Q, with and without the mean teacher.

    Where no case is noisy, as in the paper's figure, its points stand beside in pale.
    """
    cells = read_cells(study, runs, out, ("dice",))
    places = [place for place in described["places"] if has_points(cells, place, described)]
    if not places:
        return None
    figure = new_figure(1 + 4.6 * len(places), 4.4)
    for axes, place in zip(figure.subplots(1, len(places), squeeze=False)[0], places, strict=True):
        for name, style in SERIES.items():
            draw_series(axes, cells, place, study, described[name], style)
        axes.set_title(place, loc="left", fontsize=11)
        axes.set_xlabel("number of views Q")
        axes.set_ylabel("Dice %")
        axes.set_xticks(sorted({*described["with"], *described["without"]}))
        axes.grid(alpha=0.3)
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    entitle(figure, described["title"])
    return figure


def has_points(cells: Mapping[tuple[str, str], Cell], place: str, described: Mapping[str, Any]) -> bool:
    """Is a run of the figure finished there?"""
    variants = [variant for name in SERIES for variant in described[name].values()]
    return any((place, variant) in cells and cells[place, variant].seeds for variant in variants)


def draw_series(
    axes: Axes,
    cells: Mapping[tuple[str, str], Cell],
    place: str,
    study: Study,
    variants: Mapping[int, str],
    style: Mapping[str, str],
) -> None:
    """One line with error bars and, in a semi-supervised setting, the paper's points for the same numbers of views."""
    points = [
        (views, *mean_and_deviation(cells[place, variant].per_seed("dice")))
        for views, variant in sorted(variants.items())
        if (place, variant) in cells and cells[place, variant].seeds
    ]
    if points:
        views, means, deviations = np.array(points, dtype=float).T
        axes.errorbar(
            views,
            means,
            yerr=np.nan_to_num(deviations),
            color=style["colour"],
            marker=style["marker"],
            capsize=3,
            label=style["label"],
        )
    name, _, setting = place.partition("/")
    dataset = study.datasets[name]
    if dataset.options_in(setting).get("noisy_ratio") != 0:
        return
    paper = [
        (views, reported("figure3b", f"Q={views}, {style['paper']}", dataset.converter, "dice"))
        for views in sorted(variants)
    ]
    paper = [(views, dice) for views, dice in paper if dice is not None]
    if paper:
        axes.plot(
            *zip(*paper, strict=True),
            color=style["colour"],
            marker=style["marker"],
            linestyle=":",
            alpha=0.45,
            markerfacecolor="white",
            label=f"{style['label']}, as the paper reports",
        )


def draw_weights(study: Study, runs: Sequence[Run], out: Path, described: Mapping[str, Any]) -> Figure | None:
    """Mean raw weight of each view per epoch, with its deviation over the iterations, without and with the teacher."""
    place = described["places"][0]
    logs = {name: logs_of(runs, out, place, described[name]) for name in SERIES}
    if not all(logs.values()):
        return None
    figure = new_figure(12, 6.6)
    grid = figure.subplots(len(LABELS), len(SERIES), sharex=True, sharey="row")
    for row, (label, words) in enumerate(LABELS.items()):
        for column, (name, style) in enumerate(SERIES.items()):
            axes = grid[row][column]
            draw_views(axes, logs[name], f"weight_{label}_by_view")
            axes.set_title(f"{words}, {style['label']}", loc="left", fontsize=10)
            axes.grid(alpha=0.3)
            if column == 0:
                axes.set_ylabel("mean weight")
            if row == len(LABELS) - 1:
                axes.set_xlabel("epoch")
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside right upper", fontsize=9, frameon=False)
    entitle(figure, f"{described['title']} ({place}, {seeds_of([len(logs[name]) for name in SERIES])})")
    return figure


def seeds_of(counts: Sequence[int]) -> str:
    """``"3 seeds"``, or ``"1 and 3 seeds"`` where the columns, from left to right, differ."""
    return f"{' and '.join(map(str, dict.fromkeys(counts)))} seed{'s' if max(counts) > 1 else ''}"


def logs_of(runs: Sequence[Run], out: Path, place: str, variant: str) -> list[dict[str, Any]]:
    """The logs that the trainer left in the finished runs of a row."""
    own = [run for run in runs if place in run.places and run.variant.name == variant]
    finished = [run for run in own if (out / run.folder / "scores.json").is_file()]
    paths = [path for run in finished for path in sorted((out / run.folder).glob(f"nnUNet_results/*/*/fold_*/{LOG}"))]
    return [read_json(path) for path in paths]


def draw_views(axes: Axes, logs: Sequence[Mapping[str, Any]], quantity: str) -> None:
    """One line per view: mean over the seeds of the epoch's mean, in a band of the deviation over its iterations."""
    means, deviations = (
        np.ma.masked_invalid([by_view(log["values"][name]) for log in logs]).mean(axis=0).filled(math.nan)
        for name in (quantity, f"{quantity}_sd")
    )
    first = int(logs[0]["warmup_epochs"])
    epochs = np.arange(first, first + len(means))
    for view, name in enumerate(names_of_views(logs[0]["views"])):
        colour, style = COLOURS[view % len(COLOURS)], STYLES[view % len(STYLES)]
        axes.plot(epochs, means[:, view], color=colour, linestyle=style, label=name, linewidth=1.4)
        low, high = means[:, view] - deviations[:, view], means[:, view] + deviations[:, view]
        axes.fill_between(epochs, np.maximum(low, 0), high, color=colour, alpha=0.12, linewidth=0)


def by_view(series: Sequence[list[float | None] | None]) -> Curve:
    """(epochs that have the quantity, V); what diverged is NaN."""
    rows = [values for values in series if values is not None]
    return np.array([[math.nan if value is None else value for value in row] for row in rows], dtype=float)


def names_of_views(views: Sequence[str]) -> list[str]:
    """``["image", "zoom_out 1", "zoom_out 2"]``: the untouched image, and views of one kind told apart by a number."""
    names = [view.replace("_", " ") for view in views]
    return [
        f"{name} {names[: number + 1].count(name)}" if names.count(name) > 1 else name
        for number, name in enumerate(names)
    ]
