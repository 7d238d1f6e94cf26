"""Label files of all formats: geometry and data type survive, bad files are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.label_files import (
    ITK_LABELS,
    as_volume,
    find_label_files,
    read_label,
    volume_of,
    write_like,
)

DIRECTION = (0.0, 0.8, 0.6, 1.0, 0.0, 0.0, 0.0, 0.6, -0.8)


def label_image(dtype: str = "int16") -> sitk.Image:
    array = np.zeros((4, 6, 8), dtype=dtype)
    array[1:3, 2:4, 3:6] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.625, 0.7, 3.6))
    image.SetOrigin((-12.5, 40.25, 7.0))
    image.SetDirection(DIRECTION)
    return image


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_a_voxel_is_the_same_point_before_and_after(tmp_path: Path, ending: str, dtype: str) -> None:
    before = tmp_path / f"before{ending}"
    after = tmp_path / f"after{ending}"
    sitk.WriteImage(label_image(dtype), str(before))
    image = read_label(before)
    voxels = as_volume(image, before).voxels
    write_like(np.where(voxels == 1, 2, 0), image, after)
    again = sitk.ReadImage(str(after))
    for index in [(0, 0, 0), (7, 5, 3), (3, 1, 2)]:
        np.testing.assert_allclose(
            again.TransformIndexToPhysicalPoint(index), image.TransformIndexToPhysicalPoint(index), atol=1e-5
        )  # NIfTI keeps single precision
    assert again.GetPixelIDValue() == image.GetPixelIDValue()
    np.testing.assert_allclose(again.GetSpacing(), image.GetSpacing(), rtol=1e-12)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(again), 2 * voxels)


def test_axes_are_z_y_x(tmp_path: Path) -> None:
    sitk.WriteImage(label_image(), str(tmp_path / "a.nrrd"))
    volume = volume_of(ITK_LABELS, tmp_path / "a.nrrd")
    assert volume.voxels.shape == (4, 6, 8)
    assert volume.spacing_mm == pytest.approx((3.6, 0.7, 0.625))


def test_a_flat_picture_is_one_slice_and_is_written_flat(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.eye(5, dtype=np.uint8))
    image.SetSpacing((0.5, 0.25))
    volume = as_volume(image, tmp_path / "flat.nii.gz")
    assert volume.voxels.shape == (1, 5, 5) and volume.spacing_mm == (1.0, 0.25, 0.5)
    write_like(volume.voxels, image, tmp_path / "flat.nii.gz")
    assert sitk.ReadImage(str(tmp_path / "flat.nii.gz")).GetSize() == (5, 5)


def test_files_are_found_by_case_and_others_passed_over(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.nrrd", "c.v2.mha", ".hidden.mha", "dataset.json"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.nrrd").mkdir()
    assert list(find_label_files(tmp_path)) == ["a", "b", "c.v2"]


def test_two_files_for_one_case_are_refused(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a.nrrd"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"case a has two label files, a\.nii\.gz and a\.nrrd"):
        find_label_files(tmp_path)


def test_no_folder_and_no_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        find_label_files(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no label files; expected files ending in \.nii\.gz, \.nii, \.nrrd, \.mha"):
        find_label_files(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii\.gz: cannot be read") as caught:
        read_label(path)
    assert "\n" not in str(caught.value)


def test_values_between_labels_and_pictures_of_vectors_are_refused(tmp_path: Path) -> None:
    probabilities = sitk.GetImageFromArray(np.full((2, 3, 4), 0.5, np.float32))
    with pytest.raises(InputError, match="got values that are not whole numbers, expected a label map"):
        as_volume(probabilities, tmp_path / "a.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 4, 3), np.uint8), isVector=True), str(tmp_path / "v.nrrd"))
    with pytest.raises(InputError, match="got 3 dimensions with 3 values per voxel"):
        read_label(tmp_path / "v.nrrd")
