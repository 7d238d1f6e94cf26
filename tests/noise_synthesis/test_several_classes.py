"""Several classes that touch: each has the wanted Dice or is named, and none is lost, whatever the recipe."""

from __future__ import annotations

import numpy as np
import pytest
from noise_examples import TOUCHING

from noise_synthesis.calibration.search import TargetOutOfReach
from noise_synthesis.corrupt import CorruptionResult, corrupt_labels, plan_corruption
from noise_synthesis.recipes.names import RECIPE_NAMES
from noise_synthesis.recipes.table import RECIPES
from noise_synthesis.safe_io.volumes import LabelVolume

EITHER_WAY = pytest.mark.parametrize("per_slice", [True, False], ids=["per_slice", "3d"])
RECIPE = pytest.mark.parametrize("recipe", RECIPE_NAMES)
SHAPE = pytest.mark.parametrize("shape", TOUCHING)
IGNORED = 9


def cases_of(shape: str, count: int = 6, ignore_label: int | None = IGNORED) -> dict[str, LabelVolume]:
    return {f"case{seed}": TOUCHING[shape](seed, ignore_label) for seed in range(count)}


def corrupted(shape: str, recipe: str, per_slice: bool, dice: float) -> tuple[dict[str, LabelVolume], CorruptionResult]:
    cases = cases_of(shape)
    result = corrupt_labels(cases, dice, seed=1, recipe=recipe, per_slice=per_slice, ignore_label=IGNORED)
    return cases, result


def class_dice(ours: np.ndarray, theirs: np.ndarray, value: int) -> float:
    """By sums of products, with no code of the package."""
    a, b = ((x == value).astype(float) for x in (ours, theirs))
    return float(2 * (a * b).sum() / (a.sum() + b.sum()))


@SHAPE
@RECIPE
@EITHER_WAY
def test_each_class_has_the_wanted_dice_or_is_named_and_none_is_lost(shape: str, recipe: str, per_slice: bool) -> None:
    cases, result = corrupted(shape, recipe, per_slice, 0.7)
    for value in (1, 2, 3):
        dice = [class_dice(result.labels[case], cases[case].voxels, value) for case in cases]
        assert result.plan.reached[value] == pytest.approx(np.mean(dice), abs=1e-9)
        assert abs(np.mean(dice) - 0.7) <= 0.03 or value in result.plan.missed
        assert all((label == value).any() for label in result.labels.values())
    for case, volume in cases.items():
        np.testing.assert_array_equal(result.labels[case] == IGNORED, volume.voxels == IGNORED)
        assert set(np.unique(result.labels[case])) <= {0, 1, 2, 3, IGNORED}


@SHAPE
@EITHER_WAY
@pytest.mark.parametrize("recipe", ["rotation_morphology", "boundary"])
def test_what_can_be_reached_is_reached(shape: str, recipe: str, per_slice: bool) -> None:
    """A thin class beside a thick one as well as the thick one: these recipes have nothing in their way."""
    _, result = corrupted(shape, recipe, per_slice, 0.7)
    assert result.plan.missed == []


@SHAPE
@RECIPE
@EITHER_WAY
@pytest.mark.parametrize("strength_mm", [5.0, 300.0])
def test_no_strength_makes_a_class_vanish(shape: str, recipe: str, per_slice: bool, strength_mm: float) -> None:
    for seed in range(2):
        volume = TOUCHING[shape](seed, IGNORED)
        parameters = RECIPES[recipe].draw(np.random.default_rng(seed), [1, 2, 3])
        for strengths in (strength_mm, {1: strength_mm, 2: 0.5, 3: 30.0}, {1: 0.0, 2: strength_mm, 3: 2.0}):
            label = RECIPES[recipe].apply(volume.voxels, parameters, strengths, volume.spacing_mm, per_slice, IGNORED)
            assert {1, 2, 3} <= set(np.unique(label).tolist())
            np.testing.assert_array_equal(label == IGNORED, volume.voxels == IGNORED)


@RECIPE
def test_the_same_seed_gives_the_same_labels(recipe: str) -> None:
    first, second = (corrupt_labels(cases_of("ring", 3), 0.7, 2, recipe=recipe, ignore_label=IGNORED) for _ in range(2))
    assert first.plan.provenance() == second.plan.provenance()
    assert all(first.labels[case].tobytes() == second.labels[case].tobytes() for case in first.labels)


def test_two_processes_give_what_one_gives() -> None:
    first, second = (plan_corruption(cases_of("island", 4), 0.7, 2, processes=number) for number in (1, 2))
    assert first.provenance() == second.provenance()


def test_a_class_that_few_cases_have_is_measured_over_these() -> None:
    cases = cases_of("ring", 14, None)
    for name in list(cases)[1:]:
        cases[name] = LabelVolume(np.where(cases[name].voxels == 1, 0, cases[name].voxels), cases[name].spacing_mm)
    plan = plan_corruption(cases, 0.7, 0)
    told = plan.provenance()["classes"]
    assert [told[value]["cases"] for value in "123"] == [1, 14, 14]
    assert plan.reached[1] == plan.class_dice["case0"][1] == pytest.approx(0.7, abs=0.02)
    assert plan.missed == []


def test_many_classes_take_no_more_steps_than_few() -> None:
    """All classes move in every step of the search; one after the other would take hundreds."""
    label = np.zeros((1, 60, 60), np.uint8)
    for value in range(36):
        row, column = divmod(value, 6)
        label[0, 10 * row : 10 * row + 6 + value % 5, 10 * column : 10 * column + 10 - value % 4] = value + 1
    steps: list[str] = []
    cases = {"a": LabelVolume(label), "b": LabelVolume(label[:, ::-1].copy())}
    plan = plan_corruption(cases, 0.7, 0, progress=steps.append)
    assert len([step for step in steps if step.startswith("Dice ")]) <= 40
    assert len(plan.missed) <= 4


def test_a_class_out_of_reach_is_told_with_what_it_has() -> None:
    """Class 4 touches no other, so nothing confuses it."""
    cases = {}
    for name, volume in cases_of("line", 4, None).items():
        label = np.pad(volume.voxels, ((0, 0), (0, 0), (0, 8)))
        label[:, 10:20, 43:47] = 4
        cases[name] = LabelVolume(label, volume.spacing_mm)
    plan = plan_corruption(cases, 0.7, 0, recipe="class_confusion")
    told = plan.provenance()["classes"]["4"]
    assert 4 in plan.missed and told["reached"] is False and told["mean_dice"] == 1.0


def test_a_target_that_no_class_can_reach_is_an_error_that_names_them_all() -> None:
    with pytest.raises(TargetOutOfReach, match=r"0\.0100: recipe missing_slices reaches, .* for class 1, 0\.\d+ for"):
        plan_corruption(cases_of("ring", 2), 0.01, 0, recipe="missing_slices", ignore_label=IGNORED)
