"""The curves of a training: a picture that can be read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from nnunetv2_mlbseg.methods.mlbseg.quantities import LOGGED
from nnunetv2_mlbseg.progress import epoch_plot
from nnunetv2_mlbseg.progress.epoch_log import EpochLog
from nnunetv2_mlbseg.progress.epoch_plot import plot, running_mean


@pytest.mark.parametrize("epochs", [1, 6, 400])
def test_the_picture_is_a_png_and_leaves_no_other_file(tmp_path, epochs):
    log = EpochLog(LOGGED)
    for epoch in range(epochs):
        log.record(epoch, dict.fromkeys(LOGGED.in_panels, float(epoch)))
    plot(log, tmp_path / "curves.png", {3: "bootstrapping"})
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_running_mean_by_hand():
    found = running_mean(np.array([math.nan, 1.0, 2.0, math.nan, 6.0]), 1)
    assert np.array_equal(found, [math.nan, 1.5, 1.5, math.nan, 6.0], equal_nan=True)
    assert np.array_equal(running_mean(np.arange(9.0), 2)[2:-2], np.arange(2.0, 7.0))
    assert np.array_equal(running_mean(np.arange(3.0), 0), np.arange(3.0))


def test_every_curve_that_has_values_is_drawn_and_none_looks_like_another():
    log, panel = EpochLog(LOGGED), LOGGED.panels["loss terms"]
    for epoch in range(3):
        log.record(epoch, {name: 1.0 for name in panel if name != "plain"})
    axes = Figure().subplots()
    epoch_plot._draw(axes, log, panel, {})
    expected = [legend for name, legend in panel.items() if name != "plain"]
    assert len(expected) > 6 and [line.get_label() for line in axes.get_lines()] == expected
    assert len({tuple(epoch_plot.look(number).values()) for number in range(36)}) == 36


def test_losses_below_zero_are_within_the_picture_and_long_curves_are_smoothed():
    log = EpochLog(LOGGED)
    for epoch in range(1000):
        log.record(epoch, {"warmup": -0.9 + 0.05 * (-1) ** epoch})
    axes = Figure().subplots()
    epoch_plot._draw(axes, log, LOGGED.panels["loss terms"], {1000: "bootstrapping"})
    assert axes.get_ylim()[0] < -0.9
    raw, smooth = (line.get_ydata() for line in axes.get_lines())
    assert np.ptp(raw) > 0.09 and np.ptp(smooth[50:-50]) < 0.01


def test_every_stage_after_the_first_is_marked_where_it_begins():
    log = EpochLog(LOGGED)
    for epoch in range(9):
        log.record(epoch, {"warmup": 1.0})
    axes = Figure().subplots()
    epoch_plot._draw(axes, log, LOGGED.panels["loss terms"], {3: "bootstrapping", 6: "later", 9: "never reached"})
    assert [text.get_text() for text in axes.texts] == ["bootstrapping", "later"]
    assert [line.get_xdata()[0] for line in axes.get_lines()[1:]] == [2.5, 5.5]
