"""Noise on regions: each by itself, painted so that nesting survives; and which labels can be painted at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from noise_synthesis.command import add_arguments, run
from noise_synthesis.region_noise import plan_noise, region_dice
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import Structures, problems_of, regions_beside
from noise_synthesis.safe_io.volumes import LabelVolume

NESTED = Structures({"whole": (1, 2), "core": (2,)}, order=(1, 2), ignore=3)


def discs(seed: int) -> LabelVolume:
    """A disc with a core, and a corner without a label."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:4, 0:48, 0:48][1:]
    radius = np.hypot(y - rng.uniform(20, 28), x - rng.uniform(20, 28))
    label = ((radius < 15).astype(np.uint8) + (radius < 8)).astype(np.uint8)
    label[:, :4, :4] = 3
    return LabelVolume(label, (3.0, 1.0, 1.0))


@pytest.mark.parametrize("recipe", ["rotation_morphology", "under_segmentation"])
def test_every_region_has_about_the_wanted_dice_and_nesting_survives(recipe: str) -> None:
    cases = {f"case{seed}": discs(seed) for seed in range(5)}
    plan = plan_noise(cases, 0.75, 0, structures=NESTED, ignore_label=3, recipe=recipe)
    told = plan.provenance()
    found: dict[str, list[float]] = {"whole": [], "core": []}
    for case, volume in cases.items():
        noisy = plan.for_case(case).apply(volume)
        assert noisy.dtype == volume.voxels.dtype and set(np.unique(noisy)) <= {0, 1, 2, 3}
        assert np.array_equal(noisy == 3, volume.voxels == 3)
        for name, dice in region_dice(NESTED, volume.voxels, noisy).items():
            found[name].append(dice)
            assert told["cases"][case]["class_dice"][name] == pytest.approx(dice, abs=1e-6)
    for name, dice in found.items():
        assert np.mean(dice) == pytest.approx(0.75, abs=0.02 if recipe == "under_segmentation" else 0.06)
        assert told["classes"][name]["mean_dice"] == pytest.approx(np.mean(dice), abs=1e-6)


def test_regions_err_apart_from_each_other_and_draws_are_those_of_the_seed() -> None:
    cases = {"a": discs(0), "b": discs(1)}
    plans = [plan_noise(cases, 0.8, seed, structures=NESTED, ignore_label=3) for seed in (0, 0, 1)]
    first, again, other = (plan.for_case("a").apply(cases["a"]) for plan in plans)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert plans[0].parameters["a"]["whole"] != plans[0].parameters["a"]["core"]


def test_the_command_finds_the_regions_beside_the_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    labels = tmp_path / "labelsTr"
    labels.mkdir()
    for seed in range(3):
        sitk.WriteImage(sitk.GetImageFromArray(discs(seed).voxels), str(labels / f"case{seed}.nii.gz"))
    description = {"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, "regions_class_order": [1, 2]}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args([str(labels), str(tmp_path / "noisy"), "--level", "0.8", "-np", "1"])) == 0
    printed = capsys.readouterr().out
    assert "each corrupted by itself: whole, core" in printed and "class core: mean Dice 0." in printed
    told = json.loads((tmp_path / "noisy" / "provenance.json").read_text())
    assert told["regions"] == {"whole": [1, 2], "core": [2]} and told["ignore_label"] == 3


@pytest.mark.parametrize(
    ("labels", "order", "words"),
    [
        ({"whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}, [1, 2, 3], None),  # BraTS
        ({"kidney": [1, 2, 3], "masses": [2, 3], "tumour": 2}, [1, 3, 2], None),  # KiTS
        ({"both": [1, 2], "left": 1}, [2, 1], None),
        ({"both": [1, 2], "rest": 3}, [1, 3], None),  # 2 is painted as 1, in the same regions
        ({"core": 2, "whole": [1, 2]}, [2, 1], "paints label value 2, which is in core and whole, as 1"),
        ({"a": [1, 2], "b": [2, 3]}, [1, 3], "paints label value 2, which is in a and b, as 3"),
        ({"a": [1, 2], "b": [2, 3]}, [1], "is [1]; expected a list of 2 label values, one for each region, a, b"),
        ({"a": [1, 2], "b": 2}, None, "is None; expected a list of 2"),
        ({"a": [0, 1, 2], "b": 2}, [1, 2], "region a has the value of background"),
        ({"a": [1, 3], "b": 3}, [1, 3], "label values [0, 1, 3]; expected 0, 1, 2"),
    ],
)
def test_what_cannot_be_painted_is_one_clear_line(labels: dict, order: list[int] | None, words: str | None) -> None:
    found = list(problems_of({"labels": {"background": 0, **labels}, "regions_class_order": order}))
    if words is None:
        assert found == []
    else:
        assert words in found[0] and "\n" not in found[0]


def test_a_folder_with_regions_that_cannot_be_painted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "a": [1, 2], "b": [2, 3]}}))
    with pytest.raises(InputError, match=r"dataset\.json: dataset\.json: 'regions_class_order' is None"):
        regions_beside(tmp_path / "labelsTr")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "a": 1}}))
    assert regions_beside(tmp_path / "labelsTr") is None
