"""Distinct values against numpy's, and writing without loss."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import to_image

from dataset_conversion.raw.images import check_label_values, values_in, write_image
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.reading import read_image


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int32, np.float32])
def test_values_are_those_of_numpy(kind):
    array = np.random.default_rng(0).integers(-3, 40, (5, 6, 7)).astype(kind)
    assert values_in(array) == np.unique(array).tolist()
    assert values_in(array[:, ::2]) == np.unique(array[:, ::2]).tolist()
    assert values_in(array[:0]) == []


def test_all_256_values():
    assert values_in(np.arange(256, dtype=np.uint8)) == list(range(256))


def test_strange_values_are_named():
    check_label_values(np.array([0, 1, 1], np.uint8), (0, 1), "here")
    with pytest.raises(InputError, match=r"here: label value -1\.0, 0\.5; expected 0, 1"):
        check_label_values(np.array([0, 0.5, -1]), (0, 1), "here")


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_written_images_read_back(tmp_path, kind):
    array = np.random.default_rng(0).normal(100, 30, (4, 5, 6)).astype(kind)
    image = to_image(array, (0.5, 0.6, 3))
    write_image(image, tmp_path / "a.nii.gz")
    back = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), array)
    assert back.GetPixelID() == image.GetPixelID()
    for index in ((0, 0, 0), (5, 4, 3)):
        expected = image.TransformIndexToPhysicalPoint(index)
        assert back.TransformIndexToPhysicalPoint(index) == pytest.approx(expected, abs=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.nii\.gz: no such file"):
        read_image(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_text("x")
    with pytest.raises(InputError, match=r"a\.nii\.gz: cannot be read.* \(.+\)$"):
        read_image(tmp_path / "a.nii.gz")
