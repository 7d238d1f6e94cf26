"""Figures drawn from made-up scores and logs: which there are, and what stands in them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from study_support import read_study, write_scores, write_study

from nnunetv2_mlbseg.study.reading.runs import runs_of
from nnunetv2_mlbseg.study.reporting import figures

VIEWS = ["image", "zoom_in", "zoom_out", "zoom_out", "flip"]
FIGURES = [
    {
        "kind": "dice_over_views",
        "title": "Dice over Q",
        "where": ["la/semi"],
        "with_teacher": {1: "mlbseg", 4: "uniform"},
        "without_teacher": {1: "clean_only"},
    },
    {
        "kind": "weights_over_training",
        "title": "Weights",
        "where": ["la/semi"],
        "with_teacher": "mlbseg",
        "without_teacher": "uniform",
    },
]


def write_log(out, run, seed):
    """Weights of two warm-up epochs (none) and ten others, one of which diverged."""
    rng = np.random.default_rng(seed)
    values = {}
    for label in ("imperfect", "pseudo"):
        means = (1 + np.arange(5) / 5 + rng.normal(0, 0.1, (10, 5))).tolist()
        means[3][0] = None
        values[f"weight_{label}_by_view"] = [None, None, *means]
        values[f"weight_{label}_by_view_sd"] = [None, None, *np.full((10, 5), 0.2).tolist()]
    fold = out / run.folder / "nnUNet_results" / "D" / "T" / "fold_0"
    fold.mkdir(parents=True)
    (fold / figures.LOG).write_text(json.dumps({"warmup_epochs": 2, "views": VIEWS, "values": values}))


@pytest.fixture
def finished(tmp_path):
    """A study with the runs of both figures finished, but for one."""
    study = read_study(write_study(tmp_path, {"figures": FIGURES}))
    runs = runs_of(study)
    for run in runs:
        if "la/semi" in run.places and run.name != "la/semi/mlbseg/seed_1":
            write_scores(tmp_path, run, {"a": 0.8 + 0.02 * run.seed, "b": 0.9})
            write_log(tmp_path, run, run.seed)
    return study, runs


def test_both_figures_are_drawn_as_png_and_pdf(finished, tmp_path):
    written = figures.write_figures(*finished, tmp_path)
    assert [path.name for path in written] == ["figure_01.png", "figure_02.png"]
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_points_are_means_over_seeds_and_the_papers_stand_beside(finished, tmp_path):
    study, runs = finished
    axes = figures.draw_dice_over_views(study, runs, tmp_path, study.figures[0]).axes[0]
    lines = {container.get_label(): container.lines[0] for container in axes.containers}
    without = lines["without mean teacher"]
    assert without.get_xdata().tolist() == [1] and without.get_ydata() == pytest.approx([85.5])  # 85 and 86
    assert lines["with mean teacher"].get_xdata().tolist() == [1, 4]
    paper = {line.get_label(): line for line in axes.lines if "paper" in str(line.get_label())}
    assert list(paper) == ["without mean teacher, as the paper reports"]  # with it, the paper gives none for LA
    assert paper["without mean teacher, as the paper reports"].get_ydata().tolist() == [85.79]


def test_the_papers_semi_supervised_points_do_not_stand_beside_noisy_labels(tmp_path):
    described = [{**FIGURES[0], "where": ["la/noisy"]}]
    study = read_study(write_study(tmp_path, {"figures": described}))
    runs = runs_of(study)
    for run in runs:
        if "la/noisy" in run.places:
            write_scores(tmp_path, run, {"a": 0.8})
    axes = figures.draw_dice_over_views(study, runs, tmp_path, study.figures[0]).axes[0]
    assert axes.containers and not any("paper" in str(line.get_label()) for line in axes.lines)


def test_a_long_title_stays_within_a_narrow_figure(tmp_path):
    described = [{**FIGURES[0], "title": "Number of views (zoom-ins) with and without mean teacher, as Fig. 3b"}]
    study = read_study(write_study(tmp_path, {"figures": described}))
    runs = runs_of(study)
    for run in runs:
        write_scores(tmp_path, run, {"a": 0.8})
    figure = figures.draw_dice_over_views(study, runs, tmp_path, study.figures[0])
    figure.canvas.draw()
    title = figure._suptitle.get_window_extent()
    assert title.x0 >= 0 and title.x1 <= figure.bbox.width


def test_weights_have_a_line_per_view_from_the_end_of_the_warm_up(finished, tmp_path):
    study, runs = finished
    figure = figures.draw_weights(study, runs, tmp_path, study.figures[1])
    assert len(figure.axes) == 4
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.lines] == ["image", "zoom in", "zoom out 1", "zoom out 2", "flip"]
    assert axes.lines[0].get_xdata().tolist() == list(range(2, 12))
    gap = axes.lines[0].get_ydata()
    assert np.isnan(gap[3]) and np.isfinite(np.delete(gap, 3)).all()


def test_no_figure_where_nothing_is_finished(tmp_path):
    study = read_study(write_study(tmp_path, {"figures": FIGURES}))
    assert figures.write_figures(study, runs_of(study), tmp_path) == []


@pytest.mark.parametrize(
    ("counts", "words"),
    [([1, 1], "1 seed"), ([3, 3], "3 seeds"), ([1, 3], "1 and 3 seeds"), ([3, 1], "3 and 1 seeds")],
)
def test_the_title_counts_the_seeds_of_both_columns(counts, words):
    assert figures.seeds_of(counts) == words
