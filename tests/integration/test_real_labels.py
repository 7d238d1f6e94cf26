"""Real labels, where they are: the levels are met on LA and PROMISE12."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk

from noise_synthesis.calibration.levels import LEVELS
from noise_synthesis.corrupt import plan_corruption
from noise_synthesis.safe_io.volumes import LabelVolume

pytestmark = pytest.mark.integration

FEW = 5


def read_la(path: Path) -> LabelVolume:
    with h5py.File(path) as file:
        return LabelVolume(np.ascontiguousarray(file["label"][()].T), (1.25, 0.75, 0.75))


def read_promise12(path: Path) -> LabelVolume:
    image = sitk.ReadImage(str(path))
    return LabelVolume(sitk.GetArrayFromImage(image), image.GetSpacing()[::-1])


@pytest.mark.parametrize("level", LEVELS)
def test_levels_are_met_on_la(la_source: Path, level: str) -> None:
    files = sorted(la_source.glob("*/mri_norm2.h5"))[:FEW]
    plan = plan_corruption({path.parent.name: partial(read_la, path) for path in files}, LEVELS[level], seed=0)
    assert len(plan.dice) == FEW and plan.mean_dice == pytest.approx(LEVELS[level], abs=0.005)


@pytest.mark.parametrize("level", LEVELS)
def test_levels_are_met_on_promise12(promise12_source: Path, level: str) -> None:
    files = sorted(promise12_source.glob("*_segmentation.mhd"))[:FEW]
    plan = plan_corruption({path.name[:6]: partial(read_promise12, path) for path in files}, LEVELS[level], seed=0)
    assert len(plan.dice) == FEW and plan.mean_dice == pytest.approx(LEVELS[level], abs=0.005)
