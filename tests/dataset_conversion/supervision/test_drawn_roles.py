"""Draws: sizes by hand, nesting as a property, one line for every impossible wish."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset_conversion.supervision.roles import assign_roles
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.text_lists import read_name_list

CASES = [f"case{number:02d}" for number in range(40)]


def test_sizes():
    drawn = assign_roles(CASES, clean=4, noisy_ratio=0.25, seed=1)
    # 40 cases: a fifth (8) held out, 32 train, 28 of them not clean, a quarter of those (7) noisy.
    sizes = [len(drawn.evaluation), *(len(cases) for cases in drawn.supervision.by_role().values())]
    assert sizes == [8, 4, 7, 21]
    everyone = [*drawn.evaluation, *drawn.supervision.clean, *drawn.supervision.noisy, *drawn.supervision.unlabeled]
    assert sorted(everyone) == CASES


def test_splits_hold_all_roles_and_the_evaluation_cases():
    drawn = assign_roles(CASES, clean=4, noisy_ratio=0.5, seed=1)
    (fold,) = drawn.splits()
    assert fold["val"] == list(drawn.evaluation)
    assert sorted(fold["train"] + fold["val"]) == CASES


@given(seed=st.integers(0, 1000), small=st.floats(0, 1), large=st.floats(0, 1))
def test_noisy_cases_are_nested(seed, small, large):
    small, large = sorted((small, large))
    few = assign_roles(CASES, clean=4, noisy_ratio=small, seed=seed)
    many = assign_roles(CASES, clean=4, noisy_ratio=large, seed=seed)
    assert set(few.supervision.noisy) <= set(many.supervision.noisy)
    assert few.supervision.clean == many.supervision.clean
    assert few.evaluation == many.evaluation


def test_clean_cases_are_nested_and_do_not_move_the_evaluation_set():
    few, many = (assign_roles(CASES, clean=count, noisy_ratio=0.5, seed=3) for count in (2, 6))
    assert set(few.supervision.clean) < set(many.supervision.clean)
    assert few.evaluation == many.evaluation


def test_order_of_the_cases_does_not_matter_and_the_seed_does():
    one, other = (assign_roles(cases, clean=4, noisy_ratio=0.5, seed=0) for cases in (CASES, CASES[::-1]))
    assert one == other
    assert one != assign_roles(CASES, clean=4, noisy_ratio=0.5, seed=1)


def test_true_labels_at_noisy_ratio_0_are_the_cases_that_would_be_noisy():
    mixed = assign_roles(CASES, clean=4, noisy_ratio=0.25, seed=0)
    bound = assign_roles(CASES, clean=4, noisy_ratio=0, true_ratio=0.25, seed=0)
    assert bound.true_labels == mixed.supervision.noisy == bound.supervision.noisy
    assert bound.supervision.unlabeled == mixed.supervision.unlabeled


def test_true_labels_beside_75_percent_noisy_are_the_cases_that_would_be_unlabeled():
    mixed = assign_roles(CASES, clean=4, noisy_ratio=0.75, seed=0)
    bound = assign_roles(CASES, clean=4, noisy_ratio=0.75, true_ratio=0.25, seed=0)
    assert bound.true_labels == mixed.supervision.unlabeled
    assert bound.supervision.unlabeled == ()
    assert set(bound.supervision.noisy) == {*mixed.supervision.noisy, *mixed.supervision.unlabeled}


@pytest.mark.parametrize("seed", range(30))
def test_a_group_is_never_divided_between_training_and_evaluation(seed):
    pair = ("case03", "case31")
    drawn = assign_roles(CASES, clean=4, noisy_ratio=0.5, seed=seed, together=[pair])
    assert len(set(pair) & set(drawn.evaluation)) in (0, 2)
    assert len(drawn.evaluation) == 8


def test_listed_clean_cases_are_not_drawn_for_evaluation():
    listed = CASES[:20]
    drawn = assign_roles(CASES, clean=listed, noisy_ratio=0.5, seed=0)
    assert drawn.supervision.clean == tuple(listed)
    assert not set(drawn.evaluation) & set(listed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clean": 0}, "--clean 0: expected 1 to 31"),
        ({"clean": 32}, "--clean 32: expected 1 to 31"),
        ({"clean": ["case00", "nobody"]}, "clean list: no such case in the source: nobody"),
        ({"clean": CASES}, "clean list: 40 of"),
        ({"evaluation": ["nobody"]}, "evaluation list: no such case in the source: nobody"),
        ({"clean": ["case00"], "evaluation": ["case00"]}, "also in the evaluation list: case00"),
        ({"noisy_ratio": 1.5}, "--noisy-ratio: expected a share between 0 and 1, got 1.5"),
        ({"noisy_ratio": float("nan")}, "--noisy-ratio"),
        ({"true_ratio": -0.1}, "--true-ratio"),
        ({"noisy_ratio": 0.8, "true_ratio": 0.4}, "add up to more than 1"),
    ],
)
def test_impossible_wishes(options, said):
    with pytest.raises(InputError) as caught:
        assign_roles(CASES, **{"clean": 4, "noisy_ratio": 0.5, "seed": 0, **options})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lists_as_text_and_as_json(tmp_path):
    (tmp_path / "a.list").write_text("one\n# a remark\n\n two  # another\n")
    (tmp_path / "b.json").write_text(json.dumps(["one", "two"]))
    assert read_name_list(tmp_path / "a.list") == read_name_list(tmp_path / "b.json") == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.list", "", "no case in this list"),
        ("a.list", "x\nx\n", "listed more than once: x"),
        ("a.json", "{}", "expected a JSON list"),
        ("a.json", "[", "not valid JSON"),
    ],
)
def test_bad_lists(tmp_path, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=said):
        read_name_list(tmp_path / name)


def test_missing_list(tmp_path):
    with pytest.raises(InputError, match=r"none\.list: no such file"):
        read_name_list(tmp_path / "none.list")
