"""Plans and labels: targets met, the same bytes however they are made, provenance, bad input."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from noise_examples import blob, blobs

from noise_synthesis.calibration.levels import LEVELS
from noise_synthesis.corrupt import CorruptionPlan, corrupt_labels, plan_corruption
from noise_synthesis.recipes.table import RECIPES
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.volumes import LabelVolume


def dice_by_hand(ours: np.ndarray, theirs: np.ndarray, valid: np.ndarray | bool = True) -> float:
    """Mean over the classes of ``theirs`` by sums of products, with no code of the package."""
    values = []
    for value in (1, 2):
        a, b = ((x == value).astype(float) * valid for x in (ours, theirs))
        if b.sum():
            values.append(2 * (a * b).sum() / (a.sum() + b.sum()))
    return float(np.mean(values))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("per_slice", [True, False])
def test_the_levels_are_met_by_the_labels_themselves(level: str, per_slice: bool) -> None:
    cases = blobs(16)
    result = corrupt_labels(cases, LEVELS[level], seed=3, per_slice=per_slice)
    dice = {case: dice_by_hand(result.labels[case], cases[case].voxels) for case in cases}
    assert np.mean(list(dice.values())) == pytest.approx(LEVELS[level], abs=0.005)
    assert result.plan.dice == pytest.approx(dice, abs=1e-9)
    assert result.plan.mean_dice == pytest.approx(np.mean(list(dice.values())))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_meets_a_target(recipe: str) -> None:
    cases = blobs(8, classes=2)
    result = corrupt_labels(cases, 0.75, seed=0, recipe=recipe)
    dice = [dice_by_hand(result.labels[case], cases[case].voxels) for case in cases]
    assert np.mean(dice) == pytest.approx(0.75, abs=0.005)


def test_ignored_voxels_do_not_count_and_stay() -> None:
    cases = blobs(6, ignore_label=3)
    result = corrupt_labels(cases, 0.7, seed=1, ignore_label=3)
    dice = []
    for case, volume in cases.items():
        ignored = volume.voxels == 3
        np.testing.assert_array_equal(result.labels[case] == 3, ignored)
        dice.append(dice_by_hand(result.labels[case], volume.voxels, ~ignored))
    assert np.mean(dice) == pytest.approx(0.7, abs=0.005)


def test_two_processes_give_the_same_bytes_as_one() -> None:
    loaders = {f"case{seed:02d}": partial(blob, seed) for seed in range(5)}
    one = corrupt_labels(blobs(5), 0.65, seed=7)
    two = corrupt_labels(loaders, 0.65, seed=7, processes=2)
    assert json.dumps(one.plan.provenance()) == json.dumps(two.plan.provenance())
    assert all(one.labels[case].tobytes() == two.labels[case].tobytes() for case in loaders)


def test_another_seed_gives_other_labels() -> None:
    first, second = (corrupt_labels(blobs(3), 0.65, seed=seed).labels for seed in (0, 1))
    assert any((first[case] != second[case]).any() for case in first)


def test_a_case_draws_the_same_whatever_its_company_and_its_place() -> None:
    alone = plan_corruption({"case01": blob(1)}, 0.7, seed=4)
    among = plan_corruption(dict(reversed(blobs(4).items())), 0.7, seed=4)
    assert alone.parameters["case01"] == among.parameters["case01"]
    assert among.parameters["case00"] != among.parameters["case01"]


def test_a_label_is_loaded_once_for_the_plan_and_corrupted_from_the_plan_alone() -> None:
    calls: list[int] = []

    def counted(seed: int) -> LabelVolume:
        calls.append(seed)
        return blob(seed)

    plan = plan_corruption({f"case{seed:02d}": partial(counted, seed) for seed in range(4)}, 0.7, seed=0)
    assert sorted(calls) == [0, 1, 2, 3]
    corrupted = plan.for_case("case02").apply(blob(2))
    assert dice_by_hand(corrupted, blob(2).voxels) == pytest.approx(plan.dice["case02"])


def test_a_case_without_foreground_is_left_alone_and_said_so() -> None:
    empty = LabelVolume(np.zeros((3, 20, 20), np.int16))
    cases = {**blobs(3), "empty": empty}
    result = corrupt_labels(cases, 0.7, seed=0)
    assert not result.labels["empty"].any() and result.labels["empty"].dtype == np.int16
    assert "empty" not in result.plan.dice
    assert result.plan.provenance()["cases"]["empty"] == {"dice": None, "reason": "no foreground: left as it is"}


def test_provenance_tells_how_the_labels_came_about() -> None:
    plan = plan_corruption(blobs(4, classes=2), 0.7, seed=9, per_slice=False)
    told = json.loads(json.dumps(plan.provenance()))
    assert (told["recipe"], told["seed"], told["per_slice"], told["target_dice"]) == (
        "rotation_morphology",
        9,
        False,
        0.7,
    )
    assert told["settings"] == {"max_angle_deg": 20.0, "smallest_share": 0.2}
    assert "strength_mm" not in told, "each class has its own"
    for value, known in told["classes"].items():
        dice = [case["class_dice"][value] for case in told["cases"].values()]
        assert known["strength_mm"] == plan.strengths_mm[int(value)] > 0
        assert known["mean_dice"] == pytest.approx(np.mean(dice), abs=1e-5)
        assert (known["cases"], known["reached"]) == (4, True)
        assert known["lowest"]["dice"] == min(dice) == told["cases"][known["lowest"]["case"]]["class_dice"][value]
    values = [case["dice"] for case in told["cases"].values()]
    assert told["mean_dice"] == pytest.approx(np.mean(values), abs=1e-5)
    assert told["spread"]["std"] == pytest.approx(np.std(values), abs=1e-5)
    assert (told["spread"]["min"], told["spread"]["max"]) == (min(values), max(values))
    assert set(told["cases"]["case00"]["parameters"]) == {"1", "2"}
    assert set(told["cases"]["case00"]["class_dice"]) == {"1", "2"}


def test_provenance_of_one_class_has_its_strength_in_front_as_before() -> None:
    plan = plan_corruption(blobs(3), 0.7, seed=9)
    told = plan.provenance()
    assert told["strength_mm"] == told["classes"]["1"]["strength_mm"] == plan.strengths_mm[1] > 0


def test_a_plan_reports_its_progress() -> None:
    events: list[str] = []
    plan_corruption(blobs(2), 0.7, seed=0, progress=events.append)
    assert events[:2] == ["loaded case00", "loaded case01"]
    assert events[2].startswith("strength ") and "over 2 cases" in events[2]


def fail() -> LabelVolume:
    raise InputError("cannot be read")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_label_that_cannot_be_loaded_is_named(processes: int) -> None:
    with pytest.raises(InputError, match=r"^case broken: cannot be read$"):
        plan_corruption({**blobs(2), "broken": fail}, 0.7, seed=0, processes=processes)


def refuse(**changes: object) -> CorruptionPlan:
    arguments = {"cases": blobs(2), "target_dice": 0.7, "seed": 0, **changes}
    return plan_corruption(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cases": {}}, "none of the 0 labels has any foreground to corrupt"),
        ({"cases": {"a": LabelVolume(np.zeros((2, 5, 5), int))}}, "none of the 1 labels has any foreground to corrupt"),
        ({"seed": -1}, "noise seed: got -1, expected 0 or more"),
        ({"target_dice": 1.5}, "target Dice: got 1.5, expected a number between 0 and 1"),
        ({"recipe": "blur"}, "noise recipe: got 'blur'"),
        ({"recipe": "class_confusion"}, "expected two or more"),
        (
            {"recipe": "missing_slices", "target_dice": 0.01},
            r"recipe missing_slices reaches 0\.\d+ to 1 on these cases",
        ),
    ],
)
def test_what_cannot_work_is_one_clear_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        refuse(**changes)
    assert "\n" not in str(caught.value)
