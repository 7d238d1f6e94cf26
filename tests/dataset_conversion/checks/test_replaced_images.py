"""Raw images that were replaced after the preprocessing: by times, by the record, by nnU-Net's own preprocessing."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest
import SimpleITK as sitk
from checked_dataset import NAMES, change, sound_dataset
from conversion_sources import read
from preprocessed_dataset import CONFIGURATION, preprocess

from dataset_conversion.checks import preprocessed as checks
from dataset_conversion.checks.dataset import check_dataset
from dataset_conversion.checks.image_record import RECORD, compare_images, keep, newest_ns, raw_images

SAID = f"preprocessed data Dataset040_Own/{CONFIGURATION} was made from other images: preprocess again"


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    return sound_dataset(tmp_path / "nnUNet_raw")


@pytest.fixture
def data(raw, tmp_path):
    return preprocess(raw, tmp_path / "nnUNet_preprocessed" / raw.name)


def image(raw, case):
    return raw / "imagesTr" / f"{case}_0000.nii.gz"


def said(raw):
    return [finding.message for finding in check_dataset(raw, 1, with_nnunet=False)[1]]


def other_image(path, *, as_old_as=None):
    """Other intensities on the same grid; with the time of another file, as ``cp -p`` and archives leave it."""
    change(path, lambda a: a[:, ::-1].copy())
    if as_old_as is not None:
        os.utime(path, ns=(as_old_as.stat().st_atime_ns, as_old_as.stat().st_mtime_ns))


def test_a_file_of_the_same_size_and_time_is_another_one_all_the_same(raw, data):
    """Files that are not compressed are all of one size, and an archive may give all of them one time."""
    before = image(raw, "p2").stat()
    content = bytearray(image(raw, "p2").read_bytes())
    first = compare_images({"p2": (image(raw, "p2"),)}, data, raw)
    keep(data, first.same)
    content[-1] ^= 1
    image(raw, "p2").write_bytes(bytes(content))
    os.utime(image(raw, "p2"), ns=(before.st_atime_ns, before.st_mtime_ns))
    after = image(raw, "p2").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert compare_images({"p2": (image(raw, "p2"),)}, data, raw).changed == ["p2"]


def preprocessed_cases(monkeypatch):
    """The cases that a check preprocesses to compare them."""
    cases = []
    real = checks.is_made_from
    monkeypatch.setattr(checks, "is_made_from", lambda case, *more: cases.append(case.name) or real(case, *more))
    return cases


def test_images_that_were_preprocessed_are_recorded_and_found_the_same(raw, data, monkeypatch):
    compared = preprocessed_cases(monkeypatch)
    assert said(raw) == [] and said(raw) == []
    record = read(data.parent / RECORD)[CONFIGURATION]
    assert sorted(record) == NAMES and list(record["p1"]["images"]) == ["p1_0000.nii.gz"]
    assert compared == [], "nothing is newer, so nothing is preprocessed"


@pytest.mark.parametrize("checked_before", [False, True])
@pytest.mark.parametrize("old_time", [False, True])
def test_another_image_is_noticed_with_a_new_and_with_an_old_time(raw, data, checked_before, old_time):
    if checked_before:
        assert said(raw) == []
    other_image(image(raw, "p2"), as_old_as=image(raw, "p1") if old_time else None)
    assert said(raw) == [f"{SAID} (p2)"]
    assert said(raw) == [f"{SAID} (p2)"], "and remains so"
    preprocess(raw, data.parent)
    assert said(raw) == []


def test_a_file_that_was_only_written_anew_is_the_same_image(raw, data, monkeypatch):
    """Touched, copied, or compressed in another way: compared once by preprocessing it, then known."""
    compared = preprocessed_cases(monkeypatch)
    sitk.WriteImage(sitk.ReadImage(str(image(raw, "p1"))), str(image(raw, "p1")), True, 1)
    shutil.copy(image(raw, "p2"), raw / "copy")
    os.replace(raw / "copy", image(raw, "p2"))
    assert said(raw) == [] and compared == ["p1", "p2"]
    assert said(raw) == [] and compared == ["p1", "p2"]
    os.utime(image(raw, "p3"))
    assert said(raw) == [] and compared == ["p1", "p2"], "its bytes are those of the record"


def test_a_link_to_another_file_and_another_folder_behind_a_link(raw, data, tmp_path):
    """What a link leads to may be older than the preprocessed data; the link itself is not."""
    other = tmp_path / "old_p2.nii.gz"
    shutil.copy(image(raw, "p2"), other)
    other_image(other)
    os.utime(other, (1, 1))
    image(raw, "p2").unlink()
    image(raw, "p2").symlink_to(other)
    assert newest_ns(image(raw, "p2"), raw) > time.time_ns() - 60e9
    assert said(raw) == [f"{SAID} (p2)"]


def test_a_dataset_folder_that_leads_elsewhere_now(raw, data, tmp_path):
    first, second = tmp_path / "v1", tmp_path / "v2"
    raw.rename(first)
    shutil.copytree(first, second)
    other_image(image(second, "p4"))
    raw.symlink_to(first, target_is_directory=True)
    assert said(raw) == []
    raw.unlink()
    raw.symlink_to(second, target_is_directory=True)
    assert said(raw) == [f"{SAID} (p4)"]


def test_another_grid_is_noticed_whatever_the_times(raw, data, monkeypatch):
    """The preprocessed data may have been copied, and then all of it is newer than the images."""
    for case, path in (("p1", image(raw, "p1")), ("p1", raw / "labelsTr" / "p1.nii.gz")):
        volume = sitk.ReadImage(str(path))
        volume.SetSpacing((0.5, 0.6, 2.0))
        sitk.WriteImage(volume, str(path))
        shutil.copy(raw / "labelsTr" / f"{case}.nii.gz", data.parent / "gt_segmentations")
    later = time.time() + 60
    for path in data.iterdir():
        os.utime(path, (later, later))
    assert said(raw) == [f"{SAID} (p1)"]


def test_without_plans_a_newer_image_is_older_data_and_a_moved_one_is_not(raw, data):
    (data.parent / "nnUNetPlans.json").unlink()
    image(raw, "p1").rename(raw / "elsewhere")
    (raw / "elsewhere").rename(image(raw, "p1"))
    os.utime(image(raw, "p2"))
    assert said(raw) == [f"{SAID} (p2)"]


def test_a_damaged_record_is_begun_anew(raw, data):
    (data.parent / RECORD).write_text("[")
    assert said(raw) == [] and sorted(read(data.parent / RECORD)[CONFIGURATION]) == NAMES


def test_times_and_record_of_one_case(raw, data):
    """The comparison alone, as a training makes it: it never preprocesses."""
    images = {"p0": raw_images(raw)["p0"], "gone": (raw / "imagesTr" / "gone_0000.nii.gz",)}
    first = compare_images(images, data, raw)
    assert list(first.same) == ["p0"] and not first.changed and not first.suspect
    os.utime(image(raw, "p0"))
    assert compare_images(images, data, raw).suspect == ["p0"]
    keep(data, first.same)
    assert list(compare_images(images, data, raw).same) == ["p0"]
    change(image(raw, "p0"), lambda a: np.flip(a, 2).copy())
    assert compare_images(images, data, raw).changed == ["p0"]
    os.utime(data / "p0.b2nd")  # preprocessed anew: what the record says is of no use now
    assert compare_images(images, data, raw).changed == []


def test_a_raw_dataset_that_cannot_be_read_has_no_images(tmp_path):
    assert raw_images(tmp_path) == {}
