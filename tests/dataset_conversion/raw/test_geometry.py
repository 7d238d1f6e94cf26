"""Physical points before and after, and hand-drawn boxes."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import to_image

from dataset_conversion.raw.geometry import Grid, box_in_plane, image_from_xyz, resize_in_plane


def test_index_of_an_xyz_array():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    image = image_from_xyz(array, (1, 2, 3))
    assert image.GetSize() == (2, 3, 4)
    assert image.GetSpacing() == (1, 2, 3)
    assert image[1, 2, 3] == array[1, 2, 3]


@pytest.mark.parametrize("size", [(12, 10), (48, 60), (7, 31)])
def test_resizing_keeps_the_outer_edges_in_place(size):
    image = to_image(np.zeros((4, 20, 24), np.float32), (0.5, 0.7, 3))
    small = resize_in_plane(image, size, is_label=False)
    assert small.GetSize() == (*size, 4)
    for corner in ((-0.5, -0.5, 0), (1, 1, 0), (1, 0, 1)):
        before = np.where(np.array(corner) > 0, np.array(image.GetSize()) - 0.5, -0.5)
        after = np.where(np.array(corner) > 0, np.array(small.GetSize()) - 0.5, -0.5)
        np.testing.assert_allclose(
            image.TransformContinuousIndexToPhysicalPoint(before.tolist()),
            small.TransformContinuousIndexToPhysicalPoint(after.tolist()),
            atol=1e-9,
        )


def test_a_linear_ramp_in_space_stays_that_ramp():
    """Value = physical x everywhere; away from the border linear interpolation is exact."""
    image = to_image(np.zeros((2, 20, 24), np.float64), (0.5, 0.7, 3))
    for index in np.ndindex(*image.GetSize()):
        image[index] = image.TransformIndexToPhysicalPoint(index)[0]
    larger = resize_in_plane(image, (48, 40), is_label=False)
    for index in np.ndindex(*larger.GetSize()):
        if 1 <= index[0] < 47 and 1 <= index[1] < 39:
            assert larger[index] == pytest.approx(larger.TransformIndexToPhysicalPoint(index)[0], abs=1e-6)


def test_enlarging_has_no_dark_border():
    image = to_image(np.full((2, 8, 8), 7, np.float32), (1, 1, 1))
    assert sitk.GetArrayFromImage(resize_in_plane(image, (20, 24), is_label=False)).min() == 7


def test_labels_stay_labels():
    array = np.zeros((2, 8, 8), np.uint8)
    array[:, 2:6, 2:6] = 5
    resized = sitk.GetArrayFromImage(resize_in_plane(to_image(array, (1, 1, 1)), (16, 24), is_label=True))
    expected = np.zeros((2, 24, 16), np.uint8)
    expected[:, 6:18, 4:12] = 5
    np.testing.assert_array_equal(resized, expected)


def test_native_size_is_the_same_image():
    image = to_image(np.zeros((2, 8, 8), np.uint8), (1, 1, 1))
    assert resize_in_plane(image, (8, 8), is_label=False) is image


@pytest.mark.parametrize(
    ("margin", "smallest", "x", "y"),
    [
        (0, 0, (30, 40), (50, 54)),
        (5, 0, (25, 45), (45, 59)),
        (0, 20, (25, 45), (42, 62)),
        (3, 20, (22, 48), (39, 65)),
        (100, 0, (0, 90), (0, 80)),
    ],
)
def test_box_by_hand(margin, smallest, x, y):
    array = np.zeros((3, 80, 90), np.uint8)
    array[1, 50:54, 30:40] = 1
    box = box_in_plane(sitk.GetImageFromArray(array), margin, smallest)
    assert box == (slice(*x), slice(*y))


def test_box_of_an_empty_label_is_the_plane():
    box = box_in_plane(sitk.GetImageFromArray(np.zeros((3, 8, 9), np.uint8)), 1, 2)
    assert box == (slice(0, 9), slice(0, 8))


def distance(image: sitk.Image, other: sitk.Image) -> float:
    return Grid.of_image(image).distance_voxels(Grid.of_image(other))


def test_grid_distance_in_voxels():
    image = to_image(np.zeros((3, 5, 9), np.uint8), (0.5, 0.5, 2))
    other = sitk.Image(image)
    assert distance(image, other) < 1e-9
    other.SetSpacing((0.5, 0.55, 2))
    assert distance(image, other) == pytest.approx(4 * 0.05 / 0.5)
    other = sitk.Image(image)
    x, y, z = image.GetOrigin()
    other.SetOrigin((x, y, z + 2))
    assert distance(image, other) == pytest.approx(1)
