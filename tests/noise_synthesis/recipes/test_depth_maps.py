"""Depth maps on hand-drawn masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from noise_examples import drawn, frame_of

from noise_synthesis.recipes.depth import FAR_MM, depth_map, equivalent_radius_mm


def test_depth_of_a_hand_drawn_row() -> None:
    """The border lies half a voxel before the first voxel of the other kind."""
    mask = drawn("..111..") == 1
    depth = depth_map(mask, frame_of(mask.shape))
    np.testing.assert_allclose(depth[0, 0], [-1.5, -0.5, 0.5, 1.5, 0.5, -0.5, -1.5])


def test_depth_is_in_mm() -> None:
    mask = drawn("..111..") == 1
    depth = depth_map(mask, frame_of(mask.shape, (5.0, 2.0, 2.0)))
    np.testing.assert_allclose(depth[0, 0], [-3, -1, 1, 3, 1, -1, -3])


def test_slice_by_slice_no_other_slice_counts() -> None:
    mask = np.stack([drawn(".....")[0] == 1, drawn(".111.")[0] == 1, drawn("11111")[0] == 1])
    flat = depth_map(mask, frame_of(mask.shape))
    np.testing.assert_allclose(flat[1, 0], [-0.5, 0.5, 1.5, 0.5, -0.5])
    assert (flat[0] <= -FAR_MM).all() and (flat[2] >= FAR_MM).all()
    solid = depth_map(mask, frame_of(mask.shape, per_slice=False))
    np.testing.assert_allclose(solid[0, 0], [-(np.sqrt(2) - 0.5), -0.5, -0.5, -0.5, -(np.sqrt(2) - 0.5)], rtol=1e-6)


@given(npst.arrays(bool, (3, 5, 6)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_positive_depth_is_the_mask(mask: np.ndarray, per_slice: bool) -> None:
    frame = frame_of(mask.shape, (2.5, 0.7, 1.1), per_slice)
    np.testing.assert_array_equal(depth_map(mask, frame) > 0, mask)


def test_equivalent_radius() -> None:
    """Slice by slice the disk of the mean slice (30 mm2), in 3D the ball of the volume (60 voxels of 2 mm3)."""
    mask = np.zeros((4, 8, 10), dtype=bool)
    mask[1:3, 1:6, 1:7] = True
    depth = np.where(mask, 1.0, -1.0)
    assert equivalent_radius_mm(depth, frame_of(mask.shape, (2, 1, 1))) == pytest.approx(np.sqrt(30 / np.pi))
    expected = np.cbrt(3 * 120 / (4 * np.pi))
    assert equivalent_radius_mm(depth, frame_of(mask.shape, (2, 1, 1), per_slice=False)) == pytest.approx(expected)
