"""A picture of the weights of training images beside what is wrong with their labels. For studies only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import WeightedLabels
from noise_synthesis.safe_io.files import atomic_path

COLUMNS = 5
LEAST_WRONG = 0.01  # share of wrong pixels below which an image has nothing to show
# Okabe and Ito's palette; line styles differ as well.
STYLES: dict[str, dict[str, Any]] = {
    "true label": {"colors": "#FFFFFF", "linewidths": 2.4, "linestyles": "solid"},
    "imperfect label": {"colors": "#E69F00", "linewidths": 2.0, "linestyles": "dashed"},
    "pseudo label": {"colors": "#56B4E9", "linewidths": 2.0, "linestyles": "dotted"},
}
OUTLINE: dict[str, Any] = {"colors": "#D55E00", "linewidths": 1.2, "linestyles": "solid"}


@dataclass(frozen=True)
class Exhibit:
    """One training image as it was, without a view; all (Y, X), and before :func:`exhibits_of` is done (Z, Y, X) in 3D.

    Attributes:
        labels: The true, imperfect and pseudo label by the names in :data:`STYLES`; negative = no label.
        part: The imperfect label's part in the weight of both labels, 0 to 1; NaN where neither has any.
        region: Whose labels these are, where there are regions.
    """

    image: NDArray[np.float32]
    labels: dict[str, NDArray[np.int64]]
    part: NDArray[np.float32]
    region: str = ""

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Where the imperfect label differs from the true one, and both are known."""
        true, imperfect = self.labels["true label"], self.labels["imperfect label"]
        return (true >= 0) & (imperfect >= 0) & (true != imperfect)


def exhibits_of(images: Tensor, labels: WeightedLabels, truth: Tensor, regions: Sequence[str] = ("",)) -> list[Exhibit]:
    """The images of a batch that have something wrong in their labels; of a volume the slice that has most of it.

    Of regions each (image, region) is an image.

    Args:
        images: (V*B, *S), one channel, first without a view, then in the others. *S is Y, X or Z, Y, X.
        labels: Of all of them, (V*B*G, *S).
        truth: (B*G, *S) int64, the true labels of the images without views.
        regions: Their G names.
    """
    count, groups = truth.shape[0], len(regions)
    both = labels.weight_imperfect + labels.weight_pseudo
    part = (labels.weight_imperfect / both)[:count].cpu().numpy()  # 0 / 0 is NaN
    named = {"true label": truth, "imperfect label": labels.imperfect[:count], "pseudo label": labels.pseudo[:count]}
    arrays = {name: label.cpu().numpy() for name, label in named.items()}
    shown = images[: count // groups].repeat_interleave(groups, 0).cpu().numpy()
    made = [
        Exhibit(shown[i], {name: label[i] for name, label in arrays.items()}, part[i], regions[i % groups])
        for i in range(count)
    ]
    return [exhibit for exhibit in map(_worst_slice, made) if exhibit.wrong.mean() >= LEAST_WRONG]


def _worst_slice(exhibit: Exhibit) -> Exhibit:
    """Of an exhibit with three axes, the slice across the first one with most wrong pixels; else the exhibit."""
    if exhibit.image.ndim == 2:
        return exhibit
    worst = int(exhibit.wrong.sum(axis=(1, 2)).argmax())
    labels = {name: label[worst] for name, label in exhibit.labels.items()}
    return replace(exhibit, image=exhibit.image[worst], labels=labels, part=exhibit.part[worst])


def draw(exhibits: Sequence[Exhibit], picture: Path) -> None:
    """Above the images with their labels' contours, below the weights with the wrong pixels outlined; PNG.

    The first :data:`COLUMNS` exhibits are drawn: whoever draws batches at random gets images chosen at random.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = exhibits[:COLUMNS]
    figure = Figure(figsize=(2.6 * len(shown) + 1.0, 6.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(shown), squeeze=False)
    for column, exhibit in enumerate(shown):
        draw_labels(axes[0][column], exhibit)
        mesh = draw_part(axes[1][column], exhibit)
    bar = figure.colorbar(mesh, ax=list(axes[1]), shrink=0.85, pad=0.02)
    bar.set_label("imperfect label's part of the weight")
    add_legend(figure)
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def draw_labels(axis: Any, exhibit: Exhibit) -> None:
    """The image with a contour per label, all foreground classes in one; of a region under its name."""
    low, high = np.percentile(exhibit.image, [1, 99.7])
    axis.imshow(exhibit.image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    for name, label in exhibit.labels.items():
        if (label > 0).any() and (label <= 0).any():
            axis.contour((label > 0).astype(float), levels=[0.5], **STYLES[name])
    axis.set_title(exhibit.region, fontsize=10)
    axis.set_axis_off()


def draw_part(axis: Any, exhibit: Exhibit) -> Any:
    """The weight map with the wrong pixels outlined; the title says what they and the others have on average."""
    from matplotlib.collections import LineCollection

    mesh = axis.imshow(exhibit.part, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    axis.add_collection(LineCollection(outline(exhibit.wrong), **OUTLINE))
    wrong, right = (np.nanmean(exhibit.part[where]) for where in (exhibit.wrong, ~exhibit.wrong))
    axis.set_title(f"wrong {wrong:.2f}, right {right:.2f}", fontsize=10)
    axis.set_axis_off()
    return mesh


def outline(mask: NDArray[np.bool_]) -> list[list[tuple[float, float]]]:
    """The pixel sides between a mask (Y, X) and the rest, as lines from (x, y) to (x, y); pixel centres are whole."""
    padded = np.pad(mask, 1)
    below = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])  # the side above row y, at column x
    beside = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])
    level = [[(x - 0.5, y - 0.5), (x + 0.5, y - 0.5)] for y, x in below.tolist()]
    return level + [[(x - 0.5, y - 0.5), (x - 0.5, y + 0.5)] for y, x in beside.tolist()]


def add_legend(figure: Any) -> None:
    """One entry per kind of line; the backdrop is as dark as the images, so that white shows."""
    from matplotlib.lines import Line2D

    styles = {**STYLES, "wrong pixels": OUTLINE}
    handles = [
        Line2D([], [], color=s["colors"], linewidth=2.2, linestyle=s["linestyles"], label=n) for n, s in styles.items()
    ]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=3)
    legend.get_frame().set(facecolor="#333333", edgecolor="none")
    for text in legend.get_texts():
        text.set_color("white")
