"""The rule by which classes share voxels, on hand-drawn labels: nothing leaps over another, and a core is kept."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from noise_examples import drawn, frame_of

from noise_synthesis.recipes.depth import depth_map
from noise_synthesis.recipes.merging import merge_claims
from noise_synthesis.recipes.shapes import Prepared, Shape


def prepared_of(label: np.ndarray, depths: dict[int, np.ndarray] | None = None) -> Prepared:
    """Every class of a label, or clean depths given by hand, in windows as large as the label."""
    frame = frame_of(label.shape)
    if depths is None:
        depths = {int(value): depth_map(label == value, frame) for value in np.unique(label[label > 0])}
    shapes = {value: Shape(depth, (0, 0, 0), frame) for value, depth in depths.items()}
    by_size = sorted(shapes, key=lambda value: (shapes[value].voxels, value))
    return Prepared(label, (0, 0, 0), {value: shapes[value] for value in by_size})


def merged(prepared: Prepared, claims: dict[int, np.ndarray]) -> np.ndarray:
    return merge_claims(prepared, claims, np.zeros(prepared.label.shape, np.float32))


def grown(prepared: Prepared, by: dict[int, float]) -> np.ndarray:
    return merged(prepared, {value: shape.depth + np.float32(by[value]) for value, shape in prepared.shapes.items()})


def test_neighbours_that_grow_alike_keep_their_border() -> None:
    label = drawn(
        "........",
        "..1122..",
        "..1122..",
        "........",
    )
    expected = drawn(
        ".111222.",
        ".111222.",
        ".111222.",
        ".111222.",
    )
    np.testing.assert_array_equal(grown(prepared_of(label), {1: 1, 2: 1}), expected)


def test_a_voxel_goes_to_the_class_with_the_highest_claim() -> None:
    clean = {1: np.array([[[1.0, -1.0, -2.0]]], np.float32), 2: np.array([[[-2.0, 1.0, -1.0]]], np.float32)}
    claims = {1: np.array([[[2.0, 1.0, -1.0]]], np.float32), 2: np.array([[[1.0, 2.0, -2.0]]], np.float32)}
    assert merged(prepared_of(np.array([[[1, 2, 0]]]), clean), claims).tolist() == [[[1, 2, 0]]]


def test_ties_go_by_the_clean_depth_then_to_the_smaller_structure() -> None:
    """Third voxel: deeper in class 1. Fourth: equal in both respects, and class 2 is smaller."""
    clean = {
        1: np.array([[[2.0, 1.0, -1.0, -1.0, -2.0]]], np.float32),
        2: np.array([[[-2.0, -1.0, -3.0, -1.0, 1.0]]], np.float32),
    }
    claims = {1: np.array([[[3.0, 3, 1, 1, -1]]], np.float32), 2: np.array([[[-1.0, -1, 1, 1, 3]]], np.float32)}
    assert merged(prepared_of(np.array([[[1, 1, 0, 0, 2]]]), clean), claims).tolist() == [[[1, 1, 1, 2, 2]]]


@given(npst.arrays(np.int64, (2, 5, 6), elements=st.integers(0, 3)), st.permutations([1, 2, 3]), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_rule_does_not_depend_on_label_order(label: np.ndarray, order: list[int], random) -> None:
    """Renaming the classes renames the result, for shapes of different size (equal sizes leave exact ties)."""
    counts = np.bincount(label.ravel(), minlength=4)[1:]
    assume(len(set(counts.tolist())) == 3 and 0 not in counts)
    grow = {value: random.uniform(-1, 2) for value in (1, 2, 3)}
    once = grown(prepared_of(label), grow)
    renamed = prepared_of(np.array([0, *order])[label])
    twice = grown(renamed, {order[value - 1]: grow[value] for value in grow})
    np.testing.assert_array_equal(np.array([0, *order])[once], twice)


def test_a_class_does_not_leap_over_its_neighbour() -> None:
    """Class 1 would reach four voxels far, two of them beyond class 2; what lies there stays background."""
    label = drawn("..1122....")
    prepared = prepared_of(label)
    claims = {1: prepared.shapes[1].depth + 4, 2: 10 * prepared.shapes[2].depth}
    assert merged(prepared, claims).tolist() == drawn("111122....").tolist()


def test_what_lies_apart_from_the_start_may_stay_apart() -> None:
    """A false piece of class 1 beyond class 2 was never joined to class 1."""
    prepared = prepared_of(drawn("..1122....."))
    claims = {1: np.where(drawn("..11....11.") == 1, 1, -1).astype(np.float32), 2: prepared.shapes[2].depth}
    assert merged(prepared, claims).tolist() == drawn("..1122..11.").tolist()


def test_a_class_that_others_cover_keeps_a_tenth_of_itself_in_one_piece() -> None:
    """Class 2, 20 voxels, is claimed by class 1 entirely; its own claim comes nearest at the fourth voxel."""
    label = drawn("11111111111111111111", "22222222222222222222", "11111111111111111111")
    prepared = prepared_of(label)
    own = np.where(label == 2, 1, -1).astype(np.float32)
    own[0, 1, 3] = 2
    result = merged(prepared, {1: np.full(label.shape, 5, np.float32), 2: own})
    assert np.argwhere(result == 2).tolist() in ([[0, 1, 2], [0, 1, 3]], [[0, 1, 3], [0, 1, 4]])
    assert np.count_nonzero(result == 1) == 58


def test_a_class_that_is_moved_away_altogether_keeps_a_core_as_well() -> None:
    label = drawn("1111.....2222222222222222222222")
    prepared = prepared_of(label)
    nothing = np.full(label.shape, -5, np.float32)
    result = merged(prepared, {1: nothing, 2: prepared.shapes[2].depth})
    assert np.count_nonzero(result == 1) == 1 and (label[result == 1] == 1).all()
    np.testing.assert_array_equal(result == 2, label == 2)


@given(npst.arrays(np.int64, (2, 5, 6), elements=st.integers(0, 3)), st.integers(0, 2**31))
@example(np.array([[[1, 2, *[3] * 4], *[[3] * 6] * 4], [[3] * 6] * 5]), 152970)
@settings(max_examples=80, deadline=None)
def test_no_class_is_lost_whatever_is_claimed(label: np.ndarray, seed: int) -> None:
    assume(label.any())
    prepared = prepared_of(label)
    rng = np.random.default_rng(seed)
    claims = {value: rng.normal(rng.normal(0, 3), 1, label.shape).astype(np.float32) for value in prepared.shapes}
    result = merged(prepared, claims)
    for value in prepared.shapes:
        assert (result == value).any()
