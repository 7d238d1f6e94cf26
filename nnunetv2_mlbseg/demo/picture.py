"""The demonstration's picture: contours of true, noisy and predicted labels on the scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nnunetv2_mlbseg.evaluation.metrics import dice
from noise_synthesis.safe_io.files import atomic_path
from noise_synthesis.safe_io.reading import read_image

COLUMNS = 4
CROP = 4  # pixels left out at each side of a slice: there is only air
# Okabe and Ito's palette, which colour-blind readers can tell apart; line styles differ as well.
STYLES: dict[str, dict[str, Any]] = {
    "true": {"colors": "#FFFFFF", "linewidths": 2.6, "linestyles": "solid"},
    "noisy": {"colors": "#E69F00", "linewidths": 1.8, "linestyles": "dashed"},
    "warmup": {"colors": "#CC79A7", "linewidths": 2.6, "linestyles": "dotted", "zorder": 3},
    "teacher": {"colors": "#56B4E9", "linewidths": 1.8, "linestyles": "solid"},
}
LABELS = {"true": "true", "noisy": "noisy label", "warmup": "after warm-up", "teacher": "MLB-Seg teacher"}
Labels = NDArray[np.bool_]


def draw_picture(raw: Path, predictions: Path, noisy: Sequence[str], held_out: Sequence[str], picture: Path) -> None:
    """Draw noisy training scans above and held-out scans below, each in its slice with the largest atrium.

    Args:
        raw: the raw dataset; true labels of noisy cases come from ``labelsTr_true``.
        predictions: has a folder per network.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * COLUMNS, 7.4), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, COLUMNS)
    for axis, case in zip(axes[0], noisy, strict=False):
        sources = {"true": raw / "labelsTr_true", "noisy": raw / "labelsTr", "teacher": predictions / "teacher"}
        draw_case(axis, raw, case, sources)
    for axis, case in zip(axes[1], held_out, strict=False):
        sources = {"true": raw / "labelsTr", "warmup": predictions / "warmup", "teacher": predictions / "teacher"}
        draw_case(axis, raw, case, sources)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.07, wspace=0.04, hspace=0.3)
    heading: dict[str, Any] = {"fontsize": 13, "fontweight": "bold", "ha": "left", "va": "bottom"}
    figure.text(0.01, 0.945, "Training scans with noisy labels", **heading)
    figure.text(0.01, 0.468, "Held-out scans", **heading)
    add_legend(figure)
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def draw_case(axis: Any, raw: Path, case: str, sources: dict[str, Path]) -> None:
    """One scan with the contours of each source; the title gives their Dice against the true label."""
    image = read(raw / "imagesTr" / f"{case}_0000.nii.gz")
    labels = {name: read(folder / f"{case}.nii.gz") == 1 for name, folder in sources.items()}
    best = int(labels["true"].sum(axis=(1, 2)).argmax())
    window = (slice(CROP, -CROP), slice(CROP, -CROP))
    low, high = np.percentile(image[best], [1, 99.7])
    axis.imshow(image[best][window], cmap="gray", vmin=low, vmax=high, interpolation="bicubic")
    for name, volume in labels.items():
        if volume[best].any():
            axis.contour(volume[best][window].astype(float), levels=[0.5], **STYLES[name])
    scores = {name: 100 * dice(volume, labels["true"]) for name, volume in labels.items() if name != "true"}
    listed = [f"{LABELS[name].removesuffix(' teacher')} {score:.0f}" for name, score in scores.items()]
    axis.set_title("Dice: " + ",  ".join(listed), fontsize=9, color="#333333", pad=5)
    axis.set_axis_off()


def add_legend(figure: Any) -> None:
    """One entry per kind of contour; the backdrop is as dark as the scans, so that white shows."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style["colors"], linewidth=2.4, linestyle=style["linestyles"], label=LABELS[name])
        for name, style in STYLES.items()
    ]
    legend = figure.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=11, handlelength=3)
    legend.get_frame().set(facecolor="#333333", edgecolor="none")
    for text in legend.get_texts():
        text.set_color("white")


def read(path: Path) -> NDArray[Any]:
    """The voxels ``(slice, row, column)`` of an image file."""
    return sitk.GetArrayFromImage(read_image(path))
