"""nnU-Net's pseudo Dice of an epoch without foreground."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from nnunetv2_mlbseg.progress.undefined_dice import hold_undefined_dice_


@pytest.mark.parametrize(("running", "expected"), [([math.nan], 0.0), ([0.5, math.nan], 0.5), ([0.5, 0.6], None)])
def test_an_undefined_dice_does_not_spoil_the_running_mean(running, expected):
    series, said = {"mean_fg_dice": list(running), "ema_fg_dice": list(running)}, []
    hold_undefined_dice_(SimpleNamespace(get_value=lambda key, step: series[key]), said.append)
    if expected is None:
        assert not said and series["ema_fg_dice"] == series["mean_fg_dice"] == running
        return
    assert series["ema_fg_dice"][-1] == series["mean_fg_dice"][-1] == expected
    assert len(said) == 1 and said[0].endswith(f"its running mean stays at {expected:.4f}")
