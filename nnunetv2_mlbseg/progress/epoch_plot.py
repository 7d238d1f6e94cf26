"""The curves of a training as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnunetv2_mlbseg.progress.epoch_log import EpochLog
from noise_synthesis.safe_io.files import atomic_path

MANY_EPOCHS = 200
"""From here on the picture shows running means; single epochs would hide each other."""
# Okabe and Ito's palette keeps its contrasts for colour-blind readers; line styles differ as well.
COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#000000")
STYLES = ("-", (0, (5, 1)), "--", "-.", ":", (0, (1, 1)))


def look(number: int) -> dict[str, Any]:
    """Colour and line style of a panel's curve number so many; those after the sixth have other pairs of them."""
    style = STYLES[(number + number // len(COLOURS)) % len(STYLES)]
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": style}


def plot(log: EpochLog, path: Path, begins: Mapping[int, str]) -> None:
    """Draw all curves into a PNG.

    Args:
        begins: Epochs at which another stage begins, and its name.
    """
    panels = log.quantities.panels
    with matplotlib.style.context("default"), atomic_path(path) as temporary:  # nnU-Net's plots set huge fonts
        figure = Figure(figsize=(10, 2.5 * len(panels)), layout="constrained")
        FigureCanvasAgg(figure)
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, panel) in zip(rows, panels.items(), strict=True):
            _draw(axes, log, panel, begins)
            axes.set_title(title, loc="left", fontsize=11)
        rows[-1].set_xlabel("epoch")
        rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.savefig(temporary, dpi=110)


def _draw(axes: Axes, log: EpochLog, panel: Mapping[str, str], begins: Mapping[int, str]) -> None:
    epochs = len(next(iter(log.values.values())))
    curves = {legend: np.array([_number(value) for value in log.values[name]]) for name, legend in panel.items()}
    drawn = {legend: series for legend, series in curves.items() if np.isfinite(series).any()}
    for number, (legend, series) in enumerate(drawn.items()):
        values, style = int(np.isfinite(series).sum()), look(number)
        if values >= MANY_EPOCHS:  # the values pale, their running mean in front
            axes.plot(range(epochs), series, color=style["color"], linewidth=0.5, alpha=0.35)
            series = running_mean(series, epochs // 50)
        axes.plot(range(epochs), series, **style, marker="o" if values == 1 else None, label=legend)
    for epoch, stage in begins.items():
        if 0 < epoch < epochs:
            axes.axvline(epoch - 0.5, color="0.6", linewidth=1)
            top = axes.get_xaxis_transform()
            axes.text(epoch - 0.4, 0.98, stage, transform=top, fontsize=8, color="0.4", va="top")
    _frame(axes)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _frame(axes: Axes) -> None:
    """From 0 up, or from the lowest value if that is below, as nnU-Net's Dice loss is; room above for stages' names."""
    lowest, highest = axes.dataLim.intervaly
    if math.isfinite(lowest):
        margin = 0.05 * (max(highest, 0) - min(lowest, 0)) or 0.05
        axes.set_ylim(lowest - margin if lowest < 0 else 0, max(highest, 0) + 3 * margin)


def _number(value: Any) -> float:
    return value if isinstance(value, float) else math.nan


def running_mean(series: np.ndarray, half_width: int) -> np.ndarray:
    """Mean over up to ``2 * half_width + 1`` neighbours, NaN left out and kept where it is; shape as ``series``."""
    finite = np.isfinite(series)
    window = np.ones(2 * half_width + 1)
    total = np.convolve(np.where(finite, series, 0.0), window)[half_width : half_width + series.size]
    count = np.convolve(finite.astype(float), window)[half_width : half_width + series.size]
    return np.where(finite, total / np.maximum(count, 1), math.nan)
