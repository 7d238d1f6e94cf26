"""Every case is read before the first epoch, and what a training would trip over is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from preprocessed_cases import SHAPE, save_case, save_two_cases

from nnunetv2_mlbseg.cases.verification import verify_all, verify_cases
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
