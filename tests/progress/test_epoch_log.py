"""The log of an epoch: values, lines and a file."""

from __future__ import annotations

import json
import math

import pytest

from nnunetv2_mlbseg.methods.mlbseg.quantities import LOGGED
from nnunetv2_mlbseg.progress.epoch_log import EpochLog, Quantities


def _filled(epochs: int = 6) -> EpochLog:
    log = EpochLog(LOGGED)
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
    again = EpochLog(LOGGED, state)
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
        EpochLog(LOGGED).record(0, {"surprise": 1.0})


def test_the_file_holds_every_quantity_and_no_nan(tmp_path):
    log = _filled(4)
    log.record(4, {"bootstrap": math.nan, "weight_imperfect_by_view": [0.5, math.inf]})
    log.write(tmp_path / "log.json", {"views": ["image", "flip"]})

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads((tmp_path / "log.json").read_text(), parse_constant=refuse)
    assert found["views"] == ["image", "flip"] and set(found["values"]) == set(LOGGED.names)
    assert found["values"]["bootstrap"] == [None] * 3 + [0.5, None]
    assert found["values"]["weight_imperfect_by_view"] == [None] * 4 + [[0.5, None]]


def test_a_log_from_before_a_quantity_existed_goes_on():
    state = {name: values for name, values in _filled().state().items() if name in LOGGED.in_panels}
    log = EpochLog(LOGGED, state)
    log.record(6, {"weight_pseudo_by_view": [1.0]})
    assert log.values["weight_pseudo_by_view"] == [None] * 6 + [[1.0]]


def test_a_method_names_what_its_log_shows():
    few = Quantities({"loss terms": {"a": "first"}, "shares": {"b": "second"}}, by_view=("c",))
    assert few.in_panels == ("a", "b") and few.names == ("a", "b", "c", "c_sd")
    assert tuple(EpochLog(few).values) == few.names
