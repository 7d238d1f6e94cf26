"""Copies of roles and splits beside the preprocessed data follow the raw dataset and overwrite nobody's work."""

from __future__ import annotations

import json
import os

import pytest
from fold_files import CASES, SPLITS, write_fold_files

from dataset_conversion.supervision.files import Supervision, write_splits, write_supervision
from nnunetv2_mlbseg.cases.role_copies import refresh_copies
from nnunetv2_mlbseg.cases.roles import read_fold
from noise_synthesis.safe_io.errors import InputError


def test_copies_appear_are_refreshed_and_serve_without_the_raw_folder(tmp_path):
    raw, preprocessed = write_fold_files(tmp_path / "raw"), tmp_path / "preprocessed"
    preprocessed.mkdir()
    refresh_copies(raw, preprocessed)
    first = read_fold(preprocessed, 0, CASES)
    write_supervision(raw, Supervision(clean=("a",), noisy=("b", "c", "d")))
    write_splits(raw, [{"train": ["a", "b", "c", "d"], "val": ["e"]}])
    refresh_copies(None, preprocessed)
    assert read_fold(preprocessed, 0, CASES) == first
    refresh_copies(raw, preprocessed)
    refreshed = read_fold(preprocessed, 0, CASES)
    assert (refreshed.clean, refreshed.noisy, refreshed.unlabeled) == (("a",), ("b", "c", "d"), ())


def test_a_role_file_that_vanished_from_the_raw_dataset_vanishes_from_the_copies(tmp_path):
    raw, preprocessed = write_fold_files(tmp_path / "raw"), tmp_path / "preprocessed"
    preprocessed.mkdir()
    refresh_copies(raw, preprocessed)
    (raw / "supervision" / "unlabeled.json").unlink()
    refresh_copies(raw, preprocessed)
    assert not (preprocessed / "supervision" / "unlabeled.json").exists()


def test_splits_of_unknown_origin_are_not_overwritten(tmp_path):
    raw, preprocessed = write_fold_files(tmp_path / "raw"), tmp_path / "preprocessed"
    preprocessed.mkdir()
    theirs = [{"train": ["a"], "val": ["b"]}]
    (preprocessed / "splits_final.json").write_text(json.dumps(theirs))
    with pytest.raises(InputError, match="delete or rename the first file to use the second"):
        refresh_copies(raw, preprocessed)
    assert json.loads((preprocessed / "splits_final.json").read_text()) == theirs


def test_equal_splits_in_another_layout_are_no_conflict(tmp_path):
    raw, preprocessed = write_fold_files(tmp_path / "raw"), tmp_path / "preprocessed"
    preprocessed.mkdir()
    (preprocessed / "splits_final.json").write_text(json.dumps(SPLITS))
    refresh_copies(raw, preprocessed)
    assert read_fold(preprocessed, 0, CASES).validation == ("e",)


def test_role_files_that_lie_only_beside_the_preprocessed_data_stay(tmp_path):
    raw, preprocessed = tmp_path / "raw", write_fold_files(tmp_path / "preprocessed")
    (raw / "imagesTr").mkdir(parents=True)
    refresh_copies(raw, preprocessed)
    assert read_fold(preprocessed, 0, CASES).clean == ("a", "b")


def test_splits_older_than_the_raw_ones_are_replaced_and_kept_aside(tmp_path):
    """As when nnU-Net's planner copied them and the raw dataset was split anew afterwards."""
    raw, preprocessed = write_fold_files(tmp_path / "raw"), tmp_path / "preprocessed"
    preprocessed.mkdir()
    planned = preprocessed / "splits_final.json"
    planned.write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))
    os.utime(planned, (1, 1))
    refresh_copies(raw, preprocessed)
    assert json.loads(planned.read_text()) == SPLITS
    assert json.loads((preprocessed / "splits_final.json.replaced").read_text()) == [{"train": ["a"], "val": ["b"]}]
