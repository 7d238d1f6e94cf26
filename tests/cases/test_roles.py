"""Roles of a fold: read, checked, numbered."""

from __future__ import annotations

import pickle
from dataclasses import asdict, replace

import pytest
from fold_files import CASES, write_fold_files

from dataset_conversion.supervision.files import Supervision
from dataset_conversion.supervision.sources import write_sources
from nnunetv2_mlbseg.cases.roles import FoldRoles, read_fold, read_further
from noise_synthesis.safe_io.errors import InputError


def test_roles_of_a_fold_are_its_training_cases_that_have_the_role(tmp_path):
    roles = read_fold(write_fold_files(tmp_path), 1, CASES)
    assert (roles.clean, roles.noisy, roles.unlabeled, roles.validation) == (("a",), ("c",), ("d",), ("b",))
    assert roles.imperfect == ("c", "d")
    assert roles.training == ("a", "c", "d")


def test_fold_all_trains_on_every_role_and_validates_on_the_clean_cases(tmp_path):
    roles = read_fold(write_fold_files(tmp_path), "all", CASES)
    assert roles.training == ("a", "b", "c", "d")
    assert roles.validation == ("a", "b")


@pytest.mark.parametrize("fold", [2, -1])
def test_a_fold_that_does_not_exist_is_an_error_not_a_random_split(tmp_path, fold):
    with pytest.raises(InputError, match=f"got fold {fold}, expected 0 to 1 or all"):
        read_fold(write_fold_files(tmp_path), fold, CASES)


def test_all_problems_come_in_one_line(tmp_path):
    twice = Supervision(clean=("a", "b"), noisy=("b", "c"), unlabeled=("d",))
    with pytest.raises(InputError) as caught:
        read_fold(write_fold_files(tmp_path, twice, [{"train": ["a", "x"], "val": ["c"]}]), 0, CASES)
    message = str(caught.value)
    assert "clean.json and noisy.json: b" in message
    assert "x" in message and "validation case that is noisy" in message
    assert "\n" not in message


def test_missing_splits_are_an_error(tmp_path):
    folder = write_fold_files(tmp_path)
    (folder / "splits_final.json").unlink()
    with pytest.raises(InputError, match=r"splits_final\.json: missing"):
        read_fold(folder, 0, CASES)


def test_noisy_cases_are_numbered_and_others_are_not():
    roles = FoldRoles(clean=("a",), noisy=("c", "b"), unlabeled=("d",), validation=("e",))
    assert [roles.number(case) for case in ("c", "b", "a", "d", "e", "unknown")] == [0, 1, -1, -1, -1, -1]


def test_numbering_leaves_no_trace_in_what_is_stored_compared_or_sent_to_workers():
    numbered, fresh = (FoldRoles(("a",), ("b", "c"), (), ("d",)) for _ in range(2))
    assert numbered.number("c") == 1
    assert numbered == fresh and hash(numbered) == hash(fresh) and asdict(numbered) == asdict(fresh)
    assert FoldRoles.from_dict(numbered.as_dict()) == fresh
    assert pickle.loads(pickle.dumps(numbered.number))("c") == 1


def test_sources_of_noisy_labels_are_numbered_by_name_and_are_no_part_of_the_roles():
    pairs = (("n0", "reader2"), ("n2", "model"), ("n3", "reader2"))
    roles = FoldRoles(("c",), ("n0", "n1", "n2", "n3"), (), ("v",), pairs)
    assert roles.source_numbers == (1, -1, 0, 1) and [roles.source(case) for case in ("n2", "n1")] == ["model", None]
    assert "sources" not in roles.as_dict() and roles.number("n2") == 2
    assert FoldRoles(("c",), ("n0",), (), ("v",)).source_numbers == ()


def test_sources_are_read_beside_the_roles_and_a_wrong_one_is_refused(tmp_path):
    folder = write_fold_files(tmp_path)
    write_sources(folder, {"c": "reader2"})
    assert read_fold(folder, 0, CASES).sources == (("c", "reader2"),)
    write_sources(folder, {"c": "reader2", "d": "model", "x": "model"})
    with pytest.raises(InputError, match=r"source of a case that is unlabeled: d; .*that is without a role: x"):
        read_fold(folder, 0, CASES)


def test_a_label_has_the_number_of_its_case_and_kind_and_sources_are_numbered_together():
    roles = FoldRoles(
        clean=("a",),
        noisy=("b", "c"),
        unlabeled=(),
        validation=("e",),
        sources=(("b", "night shift"),),
        further=(("model", ("a", "c")), ("of clean cases alone", ("a",)), ("reader2", ("b", "c"))),
    )
    assert roles.further_of_noisy == {"model": {"c"}, "reader2": {"b", "c"}} and roles.kinds == 3
    assert [roles.number_of_source(name) for name in ("model", "night shift", "reader2")] == [1, 2, 3]
    assert roles.number_of_source("of clean cases alone") == -1
    assert roles.source_numbers == (2, 0, 1, 1, 3, 3), "0: labels without a source, which are one among others"
    assert roles.source_number("a") == -1 and roles.source("c") is None
    assert replace(roles, sources=(("b", "x"), ("c", "x"))).source_numbers == (2, 2, 0, 0, 1, 1)
    assert replace(roles, further=()).source_numbers == (0, -1)
    assert FoldRoles.from_dict(roles.as_dict()).kinds == 1


def test_further_labels_are_those_of_training_cases_that_the_raw_dataset_has(tmp_path):
    (tmp_path / "dataset.json").write_text('{"file_ending": ".png"}')
    for folder, cases in (("_reader2", "abcdz"), ("_true", "b"), ("_former", "a"), ("_empty", ""), ("", "abcd")):
        (tmp_path / f"labelsTr{folder}").mkdir()
        for case in cases:
            (tmp_path / f"labelsTr{folder}" / f"{case}.png").touch()
    roles = FoldRoles(clean=("a",), noisy=("b", "c"), unlabeled=("d",), validation=("e",), sources=(("b", "old"),))
    assert read_further(tmp_path, roles) == (("reader2", ("a", "b", "c")),)
    (tmp_path / "labelsTr_reader2").rename(tmp_path / "labelsTr_old")
    with pytest.raises(InputError, match=r"labelsTr_old: old has drawn labelsTr as well, .* of b; expected one label"):
        read_further(tmp_path, roles)
