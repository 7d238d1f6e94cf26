"""The log of an epoch: values, lines, and a picture that can be read."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from nnunetv2_mlbseg.progress.epoch_log import LOGGED, PANELS, QUANTITIES, EpochLog, epoch_means, running_mean


def _filled(epochs: int = 6) -> EpochLog:
    log = EpochLog()
    for epoch in range(epochs):
        found = {"warmup": 1 / (epoch + 1)} if epoch < 3 else {"bootstrap": 0.5, "agreement": 0.9}
        log.record(epoch, found)
    return log


def test_what_a_stage_does_not_have_is_none():
    log = _filled()
    assert log.values["bootstrap"] == [None] * 3 + [0.5] * 3
    assert all(len(series) == 6 for series in log.values.values())


def test_recording_an_epoch_again_replaces_it_and_what_followed():
    log = _filled()
    log.record(4, {"bootstrap": 0.25})
    assert log.values["bootstrap"][3:] == [0.5, 0.25]
    assert all(len(series) == 5 for series in log.values.values())


def test_state_survives_and_is_a_copy():
    log = _filled()
    state = log.state()
    again = EpochLog(state)
    again.record(6, {"bootstrap": 1.0})
    assert len(state["bootstrap"]) == 6 and len(again.values["bootstrap"]) == 7


def test_lines_show_the_quantities_of_the_stage_only():
    log = _filled()
    assert log.lines(0) == ["loss terms: warmup 1"]
    assert log.lines(5) == ["loss terms: bootstrap 0.5", "share of pixels: agreement 0.9"]


def test_a_term_that_diverged_is_shown():
    log = _filled()
    log.record(6, {"bootstrap": math.nan, "views": 0.1})
    assert log.lines(6) == ["loss terms: bootstrap nan, views 0.1"]


def test_an_unknown_quantity_is_refused():
    with pytest.raises(KeyError, match="no panel shows"):
        EpochLog().record(0, {"surprise": 1.0})


def test_means_over_tensors_and_numbers():
    outputs = [{"a": torch.tensor(1.0), "b": 2.0}, {"a": torch.tensor(4.0), "b": 4.0}]
    assert epoch_means(outputs) == {"a": 2.5, "b": 3.0}


def test_values_by_view_keep_their_views_and_say_how_much_they_vary():
    outputs = [{"a": torch.tensor([1.0, 10.0])}, {"a": torch.tensor([3.0, 10.0])}]
    assert epoch_means(outputs) == {"a": [2.0, 10.0], "a_sd": [1.0, 0.0]}


def test_the_file_holds_every_quantity_and_no_nan(tmp_path):
    log = _filled(4)
    log.record(4, {"bootstrap": math.nan, "weight_imperfect_by_view": [0.5, math.inf]})
    log.write(tmp_path / "log.json", {"views": ["image", "flip"]})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads((tmp_path / "log.json").read_text(), parse_constant=refuse)
    assert found["views"] == ["image", "flip"] and set(found["values"]) == set(LOGGED)
    assert found["values"]["bootstrap"] == [None] * 3 + [0.5, None]
    assert found["values"]["weight_imperfect_by_view"] == [None] * 4 + [[0.5, None]]


def test_a_log_from_before_a_quantity_existed_goes_on():
    state = {name: values for name, values in _filled().state().items() if name in QUANTITIES}
    log = EpochLog(state)
    log.record(6, {"weight_pseudo_by_view": [1.0]})
    assert log.values["weight_pseudo_by_view"] == [None] * 6 + [[1.0]]


@pytest.mark.parametrize("epochs", [1, 6, 400])
def test_the_picture_is_a_png_and_leaves_no_other_file(tmp_path, epochs):
    log = EpochLog()
    for epoch in range(epochs):
        log.record(epoch, dict.fromkeys(QUANTITIES, float(epoch)))
    log.plot(tmp_path / "curves.png", warmup_epochs=3)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_running_mean_by_hand():
    found = running_mean(np.array([math.nan, 1.0, 2.0, math.nan, 6.0]), 1)
    assert np.array_equal(found, [math.nan, 1.5, 1.5, math.nan, 6.0], equal_nan=True)
    assert np.array_equal(running_mean(np.arange(9.0), 2)[2:-2], np.arange(2.0, 7.0))
    assert np.array_equal(running_mean(np.arange(3.0), 0), np.arange(3.0))


def test_losses_below_zero_are_within_the_picture_and_long_curves_are_smoothed():
    log = EpochLog()
    for epoch in range(1000):
        log.record(epoch, {"warmup": -0.9 + 0.05 * (-1) ** epoch})
    axes = Figure().subplots()
    log._draw(axes, PANELS["loss terms"], warmup_epochs=1000)
    assert axes.get_ylim()[0] < -0.9
    raw, smooth = (line.get_ydata() for line in axes.get_lines())
    assert np.ptp(raw) > 0.09 and np.ptp(smooth[50:-50]) < 0.01
