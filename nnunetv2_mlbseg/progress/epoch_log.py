"""What the bootstrapping adds to nnU-Net's log: one value per quantity and epoch, as text and as curves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnunetv2_mlbseg.runtime.stop_request import as_array
from noise_synthesis.safe_io.files import atomic_path, write_json

# Panels of the picture: title, and the quantities with the words of their legend.
PANELS: dict[str, dict[str, str]] = {
    "loss terms": {
        "warmup": "warm-up on the clean cases",
        "plain": "labels at face value",
        "bootstrap": "weighted labels (Eq. 9)",
        "dice": "Dice of their mixture",
        "views": "consistency of the views (Eq. 11)",
        "teacher": "consistency with the teacher (Eq. 13)",
        "supervised": "clean batch",
    },
    "mean weight before normalisation": {
        "weight_imperfect": "imperfect label",
        "weight_pseudo": "pseudo label",
        "weight_generated": "factor of unlabeled images",
    },
    "share of pixels": {
        "share_imperfect": "imperfect label has a weight",
        "share_pseudo": "pseudo label has a weight",
        "agreement": "imperfect and pseudo label agree",
    },
    "share of steps": {
        "skipped": "left out: loss or gradient not finite",
        "no_weight": "no pixel has a weight",
        "weight_overflow": "a weight was not finite",
        "no_foreground": "clean batch without foreground",
    },
}
QUANTITIES = tuple(name for panel in PANELS.values() for name in panel)
# One value per view; beside their mean over an epoch's iterations, how much they vary from one to the next.
BY_VIEW = tuple(f"{what}_{label}_by_view" for what in ("weight", "sum") for label in ("imperfect", "pseudo"))
DEVIATION = "_sd"
MANY_EPOCHS = 200
"""From here on the picture shows running means; single epochs would hide each other."""
LOGGED = (*QUANTITIES, *BY_VIEW, *(name + DEVIATION for name in BY_VIEW))
# Okabe and Ito's palette keeps its contrasts for colour-blind readers; line styles differ as well.
COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#000000")
STYLES = ("-", (0, (5, 1)), "--", "-.", ":", (0, (1, 1)))


def epoch_means(outputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean of every quantity over the iterations of an epoch; tensors cross to the host here, once each.

    A quantity with one value per view gives a list, and a second one (name + ``_sd``) with the standard deviations.
    Values that are not finite belong to steps that were left out, and are left out here; NaN if there is no other.
    """
    found: dict[str, Any] = {}
    for name in outputs[0]:
        values = as_array([output[name] for output in outputs])
        values = np.where(np.isfinite(values), values, math.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a quantity that was never finite
            found[name] = np.nanmean(values, axis=0).tolist()
            if values.ndim > 1:
                found[name + DEVIATION] = np.nanstd(values, axis=0).tolist()
    return found


Value = float | list[float] | None
"""Of a quantity in an epoch: one number, one per view, or nothing."""


def hold_undefined_dice(logger: Any) -> float | None:
    """Where nnU-Net's pseudo Dice of an epoch is undefined, keep its running mean, which would be NaN for ever after.

    Args:
        logger: nnU-Net's; the values of the last epoch are replaced in it.

    Returns:
        The running mean that stays (0 in a first epoch), or None if the Dice was defined.
    """
    running = logger.get_value("ema_fg_dice", step=None)
    if math.isfinite(running[-1]):
        return None
    held = float(running[-2]) if len(running) > 1 else 0.0
    for key in ("mean_fg_dice", "ema_fg_dice"):
        logger.get_value(key, step=None)[-1] = held
    return held


class EpochLog:
    """Values per epoch; a quantity that a stage does not have is None there, one that diverged is NaN.

    Args:
        values: What :meth:`state` returned, to go on from a checkpoint.
    """

    def __init__(self, values: Mapping[str, Iterable[Value]] | None = None):
        self.values: dict[str, list[Value]] = {name: list((values or {}).get(name, [])) for name in LOGGED}

    def state(self) -> dict[str, list[Value]]:
        """Plain lists, for the checkpoint."""
        return {name: list(series) for name, series in self.values.items()}

    def write(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write everything as JSON: ``about``, and under ``values`` one list per quantity with an entry per epoch.

        JSON has no NaN: what diverged is null, as is what a stage does not have.
        """
        write_json(path, {**about, "values": {name: list(map(_finite, s)) for name, s in self.values.items()}})

    def record(self, epoch: int, found: Mapping[str, Any]) -> None:
        """Store the values of an epoch, in place of what was stored for it or for later ones.

        Raises:
            KeyError: a quantity that is not one of :data:`LOGGED`.
        """
        unknown = set(found) - set(LOGGED)
        if unknown:
            raise KeyError(f"no panel shows {sorted(unknown)}; known quantities: {LOGGED}")
        for name, series in self.values.items():
            del series[epoch:]
            series.extend([None] * (epoch - len(series)))
            series.append(found.get(name))

    def lines(self, epoch: int) -> list[str]:
        """The values of an epoch as log lines, one per panel that has any."""
        lines = []
        for title, panel in PANELS.items():
            found = {name: self.values[name][epoch] for name in panel}
            shown = [f"{name} {value:.4g}" for name, value in found.items() if isinstance(value, float)]
            if shown:
                lines.append(f"{title}: " + ", ".join(shown))
        return lines

    def plot(self, path: Path, warmup_epochs: int) -> None:
        """Draw all curves into a PNG, with the end of the warm-up marked."""
        with matplotlib.style.context("default"), atomic_path(path) as temporary:  # nnU-Net's plots set huge fonts
            figure = Figure(figsize=(10, 10), layout="constrained")
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
            series = np.array([value if isinstance(value, float) else math.nan for value in self.values[name]])
            finite = np.isfinite(series)
            if finite.any():
                marker = "o" if finite.sum() == 1 else None
                if finite.sum() >= MANY_EPOCHS:  # the values pale, their running mean in front
                    axes.plot(range(epochs), series, color=colour, linewidth=0.5, alpha=0.35)
                    series = running_mean(series, epochs // 50)
                axes.plot(range(epochs), series, color=colour, linestyle=style, marker=marker, label=legend)
        if 0 < warmup_epochs < epochs:
            axes.axvline(warmup_epochs - 0.5, color="0.6", linewidth=1)
            top = axes.get_xaxis_transform()
            axes.text(warmup_epochs - 0.4, 0.98, "bootstrapping", transform=top, fontsize=8, color="0.4", va="top")
        lowest = axes.dataLim.y0
        axes.set_ylim(bottom=lowest if math.isfinite(lowest) and lowest < 0 else 0)  # nnU-Net's Dice loss is below 0
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def running_mean(series: np.ndarray, half_width: int) -> np.ndarray:
    """Mean over up to ``2 * half_width + 1`` neighbours, NaN left out and kept where it is; shape as ``series``."""
    finite = np.isfinite(series)
    window = np.ones(2 * half_width + 1)
    total = np.convolve(np.where(finite, series, 0.0), window)[half_width : half_width + series.size]
    count = np.convolve(finite.astype(float), window)[half_width : half_width + series.size]
    return np.where(finite, total / np.maximum(count, 1), math.nan)


def _finite(value: Value) -> Any:
    if isinstance(value, list):
        return [_finite(number) for number in value]
    return value if value is not None and math.isfinite(value) else None
