"""What the bootstrapping adds to nnU-Net's log: one value per quantity and epoch, as text and as curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from noise_synthesis.files import atomic_path

# Panels of the picture: title, and the quantities with the words of their legend.
PANELS: dict[str, dict[str, str]] = {
    "loss terms": {
        "warmup": "warm-up on the clean cases",
        "plain": "labels at face value",
        "bootstrap": "weighted labels (Eq. 9)",
        "views": "consistency of the views (Eq. 11)",
        "teacher": "consistency with the teacher (Eq. 13)",
        "supervised": "clean batch",
    },
    "mean raw weight (along the unit clean gradient)": {
        "weight_imperfect": "imperfect label",
        "weight_pseudo": "pseudo label",
    },
    "share of pixels": {
        "share_imperfect": "imperfect label has a weight",
        "share_pseudo": "pseudo label has a weight",
        "agreement": "imperfect and pseudo label agree",
    },
}
QUANTITIES = tuple(name for panel in PANELS.values() for name in panel)
# Okabe and Ito's palette keeps its contrasts for colour-blind readers; line styles differ as well.
COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#000000")
STYLES = ("-", (0, (5, 1)), "--", "-.", ":", (0, (1, 1)))


def epoch_means(outputs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of every quantity over the iterations of an epoch; tensors cross to the host here, once each."""
    return {name: _mean([output[name] for output in outputs]) for name in outputs[0]}


def _mean(values: list[Any]) -> float:
    return float(torch.stack(values).mean()) if isinstance(values[0], Tensor) else float(np.mean(values))


class EpochLog:
    """Values per epoch; a quantity that a stage does not have is None there, one that diverged is NaN.

    Args:
        values: What :meth:`state` returned, to go on from a checkpoint.
    """

    def __init__(self, values: Mapping[str, Iterable[float | None]] | None = None):
        self.values: dict[str, list[float | None]] = {name: list((values or {}).get(name, [])) for name in QUANTITIES}

    def state(self) -> dict[str, list[float | None]]:
        """Plain lists, for the checkpoint."""
        return {name: list(series) for name, series in self.values.items()}

    def record(self, epoch: int, found: Mapping[str, float]) -> None:
        """Store the values of an epoch, in place of what was stored for it or for later ones.

        Raises:
            KeyError: a quantity that no panel shows.
        """
        unknown = set(found) - set(QUANTITIES)
        if unknown:
            raise KeyError(f"no panel shows {sorted(unknown)}; known quantities: {QUANTITIES}")
        for name, series in self.values.items():
            del series[epoch:]
            series.extend([None] * (epoch - len(series)))
            series.append(float(found[name]) if name in found else None)

    def lines(self, epoch: int) -> list[str]:
        """The values of an epoch as log lines, one per panel that has any."""
        lines = []
        for title, panel in PANELS.items():
            found = {name: self.values[name][epoch] for name in panel}
            shown = [f"{name} {value:.4g}" for name, value in found.items() if value is not None]
            if shown:
                lines.append(f"{title}: " + ", ".join(shown))
        return lines

    def plot(self, path: Path, warmup_epochs: int) -> None:
        """Draw all curves into a PNG, with the end of the warm-up marked."""
        with matplotlib.style.context("default"), atomic_path(path) as temporary:  # nnU-Net's plots set huge fonts
            figure = Figure(figsize=(10, 8), layout="constrained")
            FigureCanvasAgg(figure)
            for axes, (title, panel) in zip(figure.subplots(len(PANELS), 1, sharex=True), PANELS.items(), strict=True):
                self._draw(axes, panel, warmup_epochs)
                axes.set_title(title, loc="left", fontsize=11)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            figure.savefig(temporary, dpi=110)

    def _draw(self, axes: Axes, panel: Mapping[str, str], warmup_epochs: int) -> None:
        epochs = len(self.values[QUANTITIES[0]])
        for (name, legend), colour, style in zip(panel.items(), COLOURS, STYLES, strict=False):
            series = [math.nan if value is None else value for value in self.values[name]]
            if any(map(math.isfinite, series)):
                marker = "o" if sum(map(math.isfinite, series)) == 1 else None
                axes.plot(range(epochs), series, color=colour, linestyle=style, marker=marker, label=legend)
        if 0 < warmup_epochs < epochs:
            axes.axvline(warmup_epochs - 0.5, color="0.6", linewidth=1)
            top = axes.get_xaxis_transform()
            axes.text(warmup_epochs - 0.4, 0.98, "bootstrapping", transform=top, fontsize=8, color="0.4", va="top")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
