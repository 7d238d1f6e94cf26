"""The smooth random field against scipy's B-splines, and that it stays put when the view changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from noise_synthesis.recipes.smooth_noise import smooth_noise
from noise_synthesis.safe_io.volumes import Frame

VOLUME = (7, 20, 24)


def field(frame: Frame, shape: tuple[int, int, int], seed: int = 3) -> np.ndarray:
    return smooth_noise(np.random.default_rng(seed), 3.0, shape, frame)


@pytest.mark.parametrize("per_slice", [True, False])
def test_a_part_of_the_volume_sees_its_part_of_the_field(per_slice: bool) -> None:
    spacing = (2.0, 0.7, 0.9)
    whole = field(Frame((0, 0, 0), VOLUME, spacing, per_slice), VOLUME)
    part = field(Frame((2, 5, 1), VOLUME, spacing, per_slice), (3, 9, 17))
    np.testing.assert_allclose(part, whole[2:5, 5:14, 1:18], atol=1e-6)


def test_it_is_the_cubic_spline_of_its_knots() -> None:
    """One column of 30 voxels, 15 mm: 15 / 3 + 3 knots along it, ceil(1 / 3) + 3 across; scipy evaluates the same."""
    shape = (1, 30, 1)
    ours = field(Frame((0, 0, 0), shape, (1.0, 0.5, 1.0), per_slice=True), shape)[0, :, 0]
    knots = np.random.default_rng(3).standard_normal((1, 8, 4))[0]
    column = knots[:, 0:3] @ np.array([1, 4, 1]) / 6  # the spline across, at its first knot
    spline = BSpline(np.arange(-3, 9), column, 3)
    expected = spline(np.arange(30) * 0.5 / 3) / (151 / 315)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_mean_zero_and_variance_one() -> None:
    shape = (3, 200, 200)
    values = field(Frame((0, 0, 0), shape, (1.0, 1.0, 1.0), per_slice=True), shape)
    assert abs(values.mean()) < 0.06
    assert values.var() == pytest.approx(1, abs=0.06)


def test_slices_are_independent_slice_by_slice_and_smooth_in_3d() -> None:
    shape = (4, 60, 60)
    flat = field(Frame((0, 0, 0), shape, (0.3, 1, 1), per_slice=True), shape)
    solid = field(Frame((0, 0, 0), shape, (0.3, 1, 1), per_slice=False), shape)
    assert abs(np.corrcoef(flat[0].ravel(), flat[1].ravel())[0, 1]) < 0.25
    assert np.corrcoef(solid[0].ravel(), solid[1].ravel())[0, 1] > 0.95
