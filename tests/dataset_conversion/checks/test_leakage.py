"""What is scored must not have trained: by name, by content, by patient."""

from __future__ import annotations

from pathlib import Path

import pytest
from conversion_sources import make_nnunet

from dataset_conversion.checks.dataset import check_dataset
from dataset_conversion.checks.leaks import (
    recorded_pattern,
    refuse,
    same_files,
    shared_images,
    shared_names,
    shared_patients,
)
from dataset_conversion.supervision.files import Supervision, write_splits, write_supervision
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.settings.overrides import resolve
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import write_json


def _messages(leaks) -> list[str]:
    return [leak.message for leak in leaks]


def test_names_images_and_patients_that_train_are_found():
    assert _messages(shared_names({"a", "b"}, ["b", "c"], "test")) == ["test case b also trains"]
    found = shared_images({"a": "1", "b": "2"}, {"a": "1", "c": "2", "d": "3"}, "validation")
    assert _messages(found) == ["validation case c has the image of training case b"]
    found = shared_patients(["P1_a", "P2_a"], ["P1_b", "P3_a", "odd"], "validation", r"^(P\d+)_")
    assert _messages(found) == ["validation case P1_b is of patient P1, as training case P1_a"]
    assert not list(shared_patients(["P1_a"], ["P1_b"], "validation", None))
    assert _messages(shared_patients(["P1a"], ["P1b"], "test", r"P\d")) == [
        "test case P1b is of patient P1, as training case P1a"
    ]


def test_equal_bytes_are_found_without_reading_files_of_other_sizes(tmp_path, monkeypatch):
    for name, content in (("a", b"12"), ("b", b"345"), ("c", b"12"), ("d", b"99"), ("e", b"6789")):
        (tmp_path / name).write_bytes(content)
    read: list[Path] = []
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: (read.append(self), opened(self, *a, **k))[1])
    files = {name: tmp_path / name for name in "abcde"}
    training, tests = {n: files[n] for n in "ab"}, {n: files[n] for n in "cde"}
    assert _messages(same_files(training, tests, "test")) == ["test case c has the image of training case a"]
    assert sorted(path.name for path in read) == ["a", "c", "d"]


def test_only_what_is_named_is_allowed():
    leaks = list(shared_names({"a", "b"}, ["a", "b"], "test"))
    assert refuse(leaks, ("a", "b"), "X") == _messages(leaks)
    with pytest.raises(InputError, match=r"^X: scores would be too good, test case b also trains\. .*allow_leakage"):
        refuse(leaks, ("a",), "X")


@pytest.mark.parametrize("content", ["[]", '{"options": 3}', '{"options": {"patient_regex": 3}}'])
def test_a_strange_provenance_is_one_line(tmp_path, content):
    (tmp_path / "supervision").mkdir()
    (tmp_path / "supervision" / "provenance.json").write_text(content)
    with pytest.raises(InputError, match=r"provenance\.json: expected an object"):
        recorded_pattern(tmp_path)


def test_a_bad_pattern_is_one_line():
    with pytest.raises(InputError, match="not a regular expression"):
        list(shared_patients(["a"], ["b"], "test", "("))
    with pytest.raises(InputError, match="patient_regex"):
        resolve(MLBSegSettings, {"patient_regex": "("})


def test_check_reports_test_cases_and_patients_that_train(tmp_path):
    dataset = make_nnunet(tmp_path / "Dataset001_X", ["P1_a", "P2_a", "P1_b"])
    write_supervision(dataset, Supervision(("P1_a",), ("P2_a",)))
    write_splits(dataset, [{"train": ["P1_a", "P2_a"], "val": ["P1_b"]}])
    assert not _leaks_in(dataset)
    write_json(dataset / "supervision" / "provenance.json", {"options": {"patient_regex": r"^(P\d)_"}})
    (dataset / "imagesTs").mkdir()
    for name in ("P2_a", "T9_a"):
        content = (dataset / "imagesTr" / "P2_a_0000.nii.gz").read_bytes()
        (dataset / "imagesTs" / f"{name}_0000.nii.gz").write_bytes(content)
    found = _leaks_in(dataset)
    assert len(found) == 3
    for words in (
        "test case P2_a also trains",
        "test case T9_a has the image of training case P2_a",
        "fold 0: validation case P1_b is of patient P1, as training case P1_a",
    ):
        assert any(words in line for line in found)


def _leaks_in(dataset: Path) -> list[str]:
    findings = check_dataset(dataset, 1, with_nnunet=False)[1]
    return [finding.message for finding in findings if finding.kind == "leakage"]
