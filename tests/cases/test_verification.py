"""Every case is read before the first epoch, and what a training would trip over is named."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from conversion_sources import make_nnunet
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from preprocessed_cases import SHAPE, save_case, save_two_cases

from dataset_conversion.checks.image_record import RECORD
from nnunetv2_mlbseg.cases.verification import verify_all, verify_cases, verify_images
from nnunetv2_mlbseg.runtime.processes import Processes
from noise_synthesis.safe_io.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_two_cases(tmp_path)


def test_verification_accepts_good_cases_and_names_each_bad_one(folder):
    good = np.zeros(SHAPE, np.float32)
    outside = np.full(SHAPE, -1, np.int16)
    save_case(folder, "outside", good, outside)
    infinite = good.copy()
    infinite[0, 0, 0, 0] = np.inf
    save_case(folder, "infinite", infinite, outside)
    save_case(folder, "strange", good, np.full(SHAPE, 9, np.int16))
    save_case(folder, "short", good, np.zeros((1, 2, 8, 8), np.int16))
    save_case(folder, "broken", good, outside)
    (folder / "broken.b2nd").write_bytes(b"no array")
    cases = ["noisy", "hidden", "outside", "infinite", "strange", "short", "broken"]
    found, images = verify_cases(nnUNetDatasetBlosc2(str(folder), cases), [0, 1, 2], folder)
    assert len(found) == 4 and set(images) == set(cases) - {"broken"}
    for case, words in (
        ("infinite", "NaN or infinite"),
        ("strange", "label has the values [9], expected only [0, 1, 2]"),
        ("short", "image is (3, 8, 8), label (2, 8, 8)"),
        ("broken", "cannot be read"),
    ):
        assert any(case in line and words in line for line in found)


LABELS = LabelManager({"background": 0, "organ": 1, "ignore": 2}, None)


def test_all_cases_are_read_and_the_ignore_label_is_known(folder):
    save_case(folder, "ignored", np.zeros(SHAPE, np.float32), np.full(SHAPE, 2, np.int16))
    found = verify_all(str(folder), ["noisy", "hidden", "ignored"], LABELS, Processes())
    assert set(found) == {"noisy", "hidden", "ignored"} and found["noisy"] == found["ignored"] != found["hidden"]


def test_all_problems_end_the_training_in_one_line(folder):
    for case in ("strange", "odd"):
        save_case(folder, case, np.zeros(SHAPE, np.float32), np.full(SHAPE, 9, np.int16))
    with pytest.raises(InputError, match=r"^2 problem\(s\) in the preprocessed data: .*odd: .*; .*strange: ") as caught:
        verify_all(str(folder), ["noisy", "strange", "odd"], LABELS, Processes())
    assert "expected only [0, 1, 2]" in str(caught.value)


def test_every_process_hears_of_all_problems_and_gets_all_hashes(folder, monkeypatch):
    """This one reads the first of two cases; the other process reports what the list of answers says."""
    answers: list[object] = []
    own: list[object] = []

    def gather(self, value):
        own.append(value)
        return [value, answers.pop(0)]

    monkeypatch.setattr(Processes, "gather", gather)
    answers[:] = [["b is bad"], {}]
    with pytest.raises(InputError, match=r"^1 problem\(s\) in the preprocessed data: b is bad$"):
        verify_all(str(folder), ["noisy", "b"], LABELS, Processes(0, 2))
    own.clear()
    answers[:] = [[], {"b": "its hash"}]
    found = verify_all(str(folder), ["noisy", "b"], LABELS, Processes(0, 2))
    assert own == [[], {"noisy": found["noisy"]}] and found.keys() == {"noisy", "b"} and found["b"] == "its hash"


def test_a_training_refuses_images_that_were_replaced_since_the_first_look(tmp_path):
    raw, data = make_nnunet(tmp_path / "Dataset001_X", ["noisy", "hidden"]), tmp_path / "preprocessed" / "2d"
    data.mkdir(parents=True)
    save_two_cases(data)
    lines: list[str] = []
    look = (str(data), ["noisy", "hidden"], raw, Processes(), lines.append)
    verify_images(*look)
    assert lines == [] and (data.parent / RECORD).is_file()
    noisy, hidden = (raw / "imagesTr" / f"{case}_0000.nii.gz" for case in ("noisy", "hidden"))
    before = noisy.stat()
    noisy.write_bytes(hidden.read_bytes())
    os.utime(noisy, ns=(before.st_atime_ns, before.st_mtime_ns - 10**9))
    with pytest.raises(
        InputError, match=r"2d: the images of noisy in .*Dataset001_X are not those that were"
    ) as caught:
        verify_images(*look)
    assert "run nnUNetv2_preprocess again" in str(caught.value) and "\n" not in str(caught.value)


def test_a_training_says_where_it_cannot_tell_whether_images_were_replaced(tmp_path):
    raw, data = make_nnunet(tmp_path / "Dataset001_X", ["noisy", "hidden"]), tmp_path / "preprocessed" / "2d"
    data.mkdir(parents=True)
    save_two_cases(data)
    os.utime(raw / "imagesTr" / "noisy_0000.nii.gz")
    lines: list[str] = []
    verify_images(str(data), ["noisy", "hidden", "elsewhere"], raw, Processes(), lines.append)
    assert len(lines) == 1 and "raw images of 1 cases are newer than the preprocessed ones (noisy)" in lines[0]
    assert "mlbseg check" in lines[0]
