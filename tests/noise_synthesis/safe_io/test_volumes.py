"""Volumes, crops, and where a crop lies."""

from __future__ import annotations

import numpy as np
import pytest

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.volumes import Frame, LabelVolume, classes_in, tight_crop


def one_box() -> LabelVolume:
    voxels = np.zeros((6, 10, 12), dtype=np.int16)
    voxels[2:4, 3:6, 1:5] = 1
    voxels[3, 4, 4] = 7
    return LabelVolume(voxels, (3.0, 1.0, 0.5))


def test_tight_crop_holds_everything_but_background() -> None:
    volume = one_box()
    crop = tight_crop(volume)
    assert crop is not None
    assert (crop.start, crop.shape, crop.volume_shape) == ((2, 3, 1), (2, 3, 4), (6, 10, 12))
    assert crop.extent_mm == pytest.approx(np.sqrt(6**2 + 3**2 + 2**2))


def test_padding_adds_the_margin_in_mm_plus_one_voxel_as_far_as_the_volume_goes() -> None:
    crop = tight_crop(one_box())
    assert crop is not None
    voxels, frame = crop.padded(2.0, per_slice=False)
    # z: 1 + ceil(2 / 3) = 2 on either side; y: 3; x: 5, but only 1 is left before the box.
    assert frame == Frame((0, 0, 0), (6, 10, 12), (3.0, 1.0, 0.5), per_slice=False)
    assert voxels.shape == (6, 9, 10)
    np.testing.assert_array_equal(voxels, one_box().voxels[0:6, 0:9, 0:10])


def test_slice_by_slice_no_slices_are_added() -> None:
    crop = tight_crop(one_box())
    assert crop is not None
    voxels, frame = crop.padded(2.0, per_slice=True)
    assert voxels.shape[0] == 2 and frame.start == (2, 0, 0)


def test_background_alone_has_no_crop() -> None:
    assert tight_crop(LabelVolume(np.zeros((2, 3, 4), dtype=np.uint8))) is None


def test_classes_are_neither_background_nor_ignored() -> None:
    assert classes_in(one_box().voxels, None) == [1, 7]
    assert classes_in(one_box().voxels, 7) == [1]


@pytest.mark.parametrize(
    ("voxels", "spacing", "message"),
    [
        (np.zeros((4, 4), dtype=int), (1, 1, 1), "got 2 dimensions, expected 3"),
        (np.zeros((2, 4, 4)), (1, 1, 1), "got values of type float64, expected integers"),
        (np.zeros((2, 4, 4), dtype=int), (1, 0, 1), "expected three positive numbers in mm"),
        (np.zeros((2, 4, 4), dtype=int), (1, 1), "expected three positive numbers in mm"),
        (np.zeros((2, 4, 4), dtype=int), (1, 1, float("nan")), "expected three positive numbers in mm"),
    ],
)
def test_bad_volumes_are_refused(voxels: np.ndarray, spacing: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelVolume(voxels, spacing)
