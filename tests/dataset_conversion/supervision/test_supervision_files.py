"""Each rule is broken alone in an otherwise sound dataset and must be the only thing reported."""

from __future__ import annotations

import json

import pytest

from dataset_conversion.supervision.files import (
    Supervision,
    problems,
    read_splits,
    read_supervision,
    write_splits,
    write_supervision,
)
from noise_synthesis.safe_io.errors import InputError

CASES = {"a", "b", "c", "d", "e"}
SOUND = Supervision(clean=("a",), noisy=("b",), unlabeled=("c",))
SOUND_SPLITS = [{"train": ["a", "b", "c"], "val": ["d", "e"]}]


def test_sound_dataset_has_no_problem():
    assert problems(SOUND, SOUND_SPLITS, CASES) == []


def test_clean_cases_may_be_validation_cases():
    supervision = Supervision(clean=("a", "d"), unlabeled=("b", "c", "e"))
    splits = [{"train": ["a", "b", "c", "e"], "val": ["d"]}, {"train": ["d", "b", "c", "e"], "val": ["a"]}]
    assert problems(supervision, splits, CASES) == []


@pytest.mark.parametrize(
    ("supervision", "said"),
    [
        (Supervision((), ("a", "b"), ("c",)), "no clean case"),
        (Supervision(("a", "b", "c")), "neither a noisy nor an unlabeled case"),
        (Supervision(("a",), ("b",), ("c", "c")), "unlabeled.json: listed more than once: c"),
        (Supervision(("a",), ("b", "x"), ("c",)), "noisy.json: role for a case that does not exist in imagesTr: x"),
        (Supervision(("a",), ("b", "a"), ("c",)), "case in both clean.json and noisy.json: a"),
        (Supervision(("a",), ("b",)), "fold 0: training case without a role in supervision/: c"),
        (Supervision(("a",), ("b",), ("c", "d")), "fold 0: validation case that is unlabeled"),
        (Supervision(("a",), ("b", "e"), ("c",)), "fold 0: validation case that is noisy"),
    ],
)
def test_broken_roles(supervision, said):
    found = problems(supervision, SOUND_SPLITS, CASES)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (None, "splits_final.json: missing"),
        ([], "got []"),
        ({"train": []}, "got an object"),
        ([["a"]], "fold 0: expected an object"),
        ([{"train": ["a"]}], "fold 0: 'val' is missing"),
        ([{"train": "a", "val": []}], "'train' must be a list of case names, got text"),
        ([{"train": ["a", 3], "val": []}], "'train' must hold case names as text, got 3"),
        ([{"train": ["a", "b", "c"], "val": ["d", "d"]}], "more than once in 'val': d"),
        ([{"train": ["a", "b", "c"], "val": ["d", "x"]}], "'val' that does not exist in imagesTr: x"),
        ([{"train": ["a", "b", "c"], "val": ["a", "d"]}], "in both 'train' and 'val': a"),
        ([{"train": ["b", "c"], "val": ["d"]}], "no clean case in 'train'"),
        ([{"train": ["a"], "val": ["d"]}], "neither a noisy nor an unlabeled case in 'train'"),
        ([{"train": ["a", "b"], "val": []}], "'val' is empty"),
    ],
)
def test_broken_splits(splits, said):
    found = problems(SOUND, splits, CASES)
    assert len(found) == 1
    assert said in found[0]


def test_problem_names_the_fold_it_is_in():
    found = problems(SOUND, [*SOUND_SPLITS, {"train": ["a", "b", "c", "d"], "val": ["e"]}], CASES)
    assert found == ["splits_final.json: fold 1: training case without a role in supervision/: d"]


def test_many_names_are_shortened():
    supervision = Supervision(("a",), tuple(f"x{i}" for i in range(9)), ("b", "c"))
    assert problems(supervision, SOUND_SPLITS, CASES)[0].endswith("x0, x1, x2, x3, x4 and 4 more")


def test_role_of():
    assert [SOUND.role_of(case) for case in "abcd"] == ["clean", "noisy", "unlabeled", None]
    assert SOUND.roles() == {"a": "clean", "b": "noisy", "c": "unlabeled"}


def test_written_files_read_back(tmp_path):
    write_supervision(tmp_path, Supervision(("b", "a"), ("c",)))
    write_splits(tmp_path, [{"train": ("c", "a"), "val": ("d",)}])
    assert read_supervision(tmp_path) == Supervision(("a", "b"), ("c",))
    assert read_splits(tmp_path) == [{"train": ["a", "c"], "val": ["d"]}]


def test_missing_imperfect_files_are_empty_lists(tmp_path):
    (tmp_path / "supervision").mkdir()
    (tmp_path / "supervision" / "clean.json").write_text('["a"]')
    assert read_supervision(tmp_path) == Supervision(("a",))
    assert read_splits(tmp_path) is None


def test_no_files_at_all_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"mlbseg split.*stock nnUNetTrainer"):
        read_supervision(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [({"a": 1}, "got an object"), ("a", "got text"), (["a", 1], "got 1"), (None, "got null"), (7, "got a number")],
)
def test_wrong_json_type_names_the_file(tmp_path, content, said):
    (tmp_path / "supervision").mkdir()
    (tmp_path / "supervision" / "clean.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"clean.json.*{said}"):
        read_supervision(tmp_path)


def test_missing_clean_file_is_named(tmp_path):
    (tmp_path / "supervision").mkdir()
    (tmp_path / "supervision" / "noisy.json").write_text('["a"]')
    with pytest.raises(InputError, match=r"clean\.json: missing"):
        read_supervision(tmp_path)
