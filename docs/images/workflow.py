"""Draws ``workflow.png``: the workflow as one strip. ``python docs/images/workflow.py`` writes it anew.

One unit is one pixel of the picture when it is shown 1000 pixels wide. Colours are Okabe and Ito's, which colour-blind
readers can tell apart; every kind of label has a line style of its own as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from numpy.typing import NDArray

WIDTH, HEIGHT = 1000, 392
PIXELS_PER_UNIT = 2
INK, SOFT, PANEL, EDGE = "#1f2328", "#57606a", "#f3f5f8", "#b9c1ca"
GREEN, ORANGE, BLUE, DARK_BLUE = "#009E73", "#E69F00", "#56B4E9", "#0072B2"
CLEAN, NOISY, OWN = (GREEN, "solid"), (ORANGE, (0, (3, 1.2))), (BLUE, (0, (1, 0.9)))
ORGAN: dict[str, Any] = {"scale": 0.21, "centre": (0.5, 0.5)}
TOO_LARGE: dict[str, Any] = {"scale": 0.30, "centre": (0.545, 0.47)}
Style = tuple[str, Any]
Shape = dict[str, Any]


def outline(scale: float, centre: tuple[float, float], points: int = 90) -> NDArray[np.float64]:
    """Corners ``(points, 2)`` of an organ in a square of side 1."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = scale * (1 + 0.16 * np.cos(3 * angle + 0.6) + 0.06 * np.cos(2 * angle))
    return np.stack([centre[0] + 1.15 * radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)


def inside(shape: Shape, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points of the square lie within the organ."""
    path = matplotlib.path.Path(outline(**shape))
    return path.contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)


def draw_scan(
    axes: Axes, left: float, bottom: float, side: float, *labels: tuple[Shape, Style], flipped: bool = False
) -> None:
    """A dark slice with a body and an organ, and the outlines of its labels."""

    def placed(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        if flipped:
            corners = corners * [-1, 1] + [1, 0]
        return corners * side + [left, bottom]

    axes.add_patch(Rectangle((left, bottom), side, side, facecolor="#15181c", edgecolor="white", linewidth=0.8))
    middle = (left + side / 2, bottom + side / 2)
    axes.add_patch(Ellipse(middle, 0.92 * side, 0.8 * side, facecolor="#5a5f66", edgecolor="#a6abb1", linewidth=1))
    axes.add_patch(Polygon(placed(outline(**ORGAN)), facecolor="#c9ccd0", edgecolor="none"))
    for shape, (colour, line) in labels:
        axes.add_patch(
            Polygon(placed(outline(**shape)), fill=False, edgecolor=colour, linewidth=2, linestyle=line, closed=True)
        )


def draw_stack(axes: Axes, left: float, bottom: float, side: float, behind: int, *labels: tuple[Shape, Style]) -> None:
    """A scan with further ones behind it."""
    for number in range(behind, 0, -1):
        draw_scan(axes, left + 5 * number, bottom + 5 * number, side)
    draw_scan(axes, left, bottom, side, *labels)


def draw_weights(axes: Axes, left: float, bottom: float, side: float, of_label: bool) -> None:
    """The weight of every pixel: the given label's is low where that is wrong, the prediction's high there."""
    cells = 13
    x, y = np.meshgrid((np.arange(cells) + 0.5) / cells, (np.arange(cells) + 0.5) / cells)
    wrong = inside(ORGAN, x, y) != inside(TOO_LARGE, x, y)
    grain = np.random.default_rng(3).uniform(-0.08, 0.08, wrong.shape)
    weight = np.where(wrong, 0.08, 0.8) if of_label else np.where(wrong, 0.9, 0.3)
    colours = LinearSegmentedColormap.from_list("weights", ["white", ORANGE if of_label else DARK_BLUE])
    extent = (left, left + side, bottom, bottom + side)
    axes.imshow(weight + grain, origin="lower", extent=extent, cmap=colours, vmin=0, vmax=1, zorder=2)
    axes.add_patch(Rectangle((left, bottom), side, side, fill=False, edgecolor=EDGE, linewidth=1, zorder=3))


def draw_network(axes: Axes, left: float, bottom: float, width: float, height: float, colour: str) -> None:
    """A U of blocks, as nnU-Net's network is usually drawn."""
    block = width / 7
    for column, (low, high) in enumerate(
        [(0, 1), (0.2, 0.92), (0.4, 0.84), (0.04, 0.36), (0.4, 0.84), (0.2, 0.92), (0, 1)]
    ):
        place = (left + (column + 0.12) * block, bottom + low * height)
        axes.add_patch(Rectangle(place, 0.76 * block, (high - low) * height, facecolor=colour, edgecolor="none"))


def panel(axes: Axes, left: float, bottom: float, width: float, height: float, title: str) -> None:
    """A rounded box with a title at its top."""
    style = "round,pad=0,rounding_size=8"
    axes.add_patch(
        FancyBboxPatch((left, bottom), width, height, boxstyle=style, facecolor=PANEL, edgecolor=EDGE, zorder=0)
    )
    write(axes, left + 11, bottom + height - 11, title, size=10.5, weight="bold", va="top")


def write(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Text, by default small and with its left end at ``x``."""
    defaults: dict[str, Any] = {
        "fontsize": options.pop("size", 8.6),
        "color": INK,
        "ha": "left",
        "va": "center",
        "linespacing": 1.25,
    }
    axes.text(x, y, text, **defaults | options, zorder=5)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = SOFT, **options: Any) -> None:
    """An arrow from one place to another."""
    look: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 13,
        "linewidth": 1.8,
        "shrinkA": 0,
        "shrinkB": 0,
        "zorder": 4,
    }
    axes.add_patch(FancyArrowPatch(start, end, color=colour, **look | options))


def draw_roles(axes: Axes) -> None:
    """The three roles, below one another."""
    panel(axes, 14, 14, 178, 364, "Your scans")
    for bottom, behind, labels, name, what in (
        (262, 1, [(ORGAN, CLEAN)], "clean", "label\nyou trust"),
        (149, 3, [(TOO_LARGE, NOISY)], "noisy", "label\nyou doubt"),
        (36, 3, [], "unlabeled", "no label"),
    ):
        draw_stack(axes, 26, bottom, 68, behind, *labels)
        write(axes, 118, bottom + 50, name, weight="bold", size=8.4)
        write(axes, 118, bottom + 36, what, color=SOFT, size=8.2, va="top")


def draw_first_steps(axes: Axes) -> None:
    """Warm-up above, labels for the unlabeled scans below."""
    panel(axes, 222, 252, 172, 126, "1  Warm-up")
    draw_network(axes, 236, 280, 62, 56, SOFT)
    write(axes, 312, 308, "learns from\nthe clean\nlabels")
    panel(axes, 222, 14, 172, 126, "2  Labels")
    draw_stack(axes, 234, 28, 64, 2, (TOO_LARGE | {"scale": 0.235, "centre": (0.47, 0.53)}, OWN))
    write(axes, 318, 65, "labels the\nunlabeled\nscans")


def draw_bootstrapping(axes: Axes) -> None:
    """Both labels of every pixel, their weights, and the student that learns from them."""
    panel(axes, 424, 14, 350, 364, "3  Bootstrapping")
    write(
        axes, 435, 333, "Every pixel has two labels, weighted by\nwhat helps on the clean scans.", size=8.2, color=SOFT
    )
    side = 72
    for bottom, shape, style, title, weight in (
        (240, TOO_LARGE, NOISY, "given label", "weight (white: low)"),
        (139, ORGAN, OWN, "prediction,\nmean of views", "weight"),
    ):
        draw_scan(axes, 436, bottom, side, (shape, style))
        write(axes, 519, bottom + side / 2, r"$\times$", size=12, ha="center")
        draw_weights(axes, 530, bottom, side, of_label=style is NOISY)
        write(axes, 436, bottom - 4, title, va="top", size=8.2)
        write(axes, 530, bottom - 4, weight, va="top", size=8.2)
        arrow(axes, (608, bottom + side / 2), (660, 235 if style is NOISY else 215))
    draw_network(axes, 672, 194, 76, 62, DARK_BLUE)
    write(axes, 710, 270, "student", ha="center", weight="bold")


def draw_teacher(axes: Axes) -> None:
    """Views of one image and the mean teacher, at the foot of the box."""
    draw_scan(axes, 436, 28, 46)
    draw_scan(axes, 488, 28, 46, flipped=True)
    write(axes, 544, 51, "views of\none image", size=8.2)
    draw_network(axes, 672, 66, 76, 62, GREEN)
    write(axes, 710, 50, "mean teacher", ha="center", weight="bold")
    write(axes, 710, 33, "keeps it steady", ha="center", size=8.2, color=SOFT)
    arrow(axes, (710, 190), (710, 136))
    write(axes, 702, 163, "averaged", size=8.2, color=SOFT, ha="right")


def draw_results(axes: Axes) -> None:
    """The audit above, predictions below."""
    panel(axes, 804, 204, 182, 174, "Audit")
    draw_scan(axes, 816, 258, 84, (TOO_LARGE, NOISY))
    given, right = (outline(**shape) * 84 + [816, 258] for shape in (TOO_LARGE, ORGAN))
    axes.add_patch(Polygon(given, facecolor=(0.84, 0.37, 0, 0.55), hatch="////", linewidth=0))
    axes.add_patch(Polygon(right, facecolor="#c9ccd0", edgecolor=BLUE, linewidth=1.6))
    write(axes, 910, 300, "which\nlabels are\nwrong, and\nwhere")
    write(axes, 816, 231, "report, corrected labels", size=8.2, color=SOFT)
    panel(axes, 804, 14, 182, 174, "Prediction")
    draw_scan(axes, 816, 68, 84, (ORGAN, (BLUE, "solid")))
    write(axes, 910, 110, "new scans,\nby stock\nnnU-Net")
    write(axes, 816, 41, "the usual commands", size=8.2, color=SOFT)


def draw_arrows(axes: Axes) -> None:
    """What goes where."""
    arrow(axes, (192, 316), (222, 316), GREEN)
    arrow(axes, (394, 316), (424, 316), GREEN)
    arrow(axes, (192, 196), (424, 196), ORANGE)
    arrow(axes, (192, 76), (222, 76))
    arrow(axes, (394, 76), (424, 76), BLUE)
    arrow(axes, (308, 252), (308, 140))
    write(axes, 315, 226, "network", size=8.2, color=SOFT)
    arrow(axes, (774, 290), (804, 290))
    arrow(axes, (774, 100), (804, 100))


def draw(path: Path) -> None:
    """Write the picture."""
    matplotlib.rcParams.update({"font.family": "DejaVu Sans", "hatch.color": "white", "hatch.linewidth": 0.8})
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    for part in (draw_roles, draw_first_steps, draw_bootstrapping, draw_teacher, draw_results, draw_arrows):
        part(axes)
    axes.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
    axes.set_axis_off()
    figure.savefig(path, dpi=100 * PIXELS_PER_UNIT, metadata={"Software": None}, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    draw(Path(__file__).with_name("workflow.png"))
