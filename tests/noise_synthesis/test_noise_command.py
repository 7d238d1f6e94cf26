"""``mlbseg noise`` and ``python -m noise_synthesis`` from end to end."""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from noise_examples import blob, ring, run_noise

from noise_synthesis.corrupt_folder import check_apart
from noise_synthesis.safe_io import errors
from noise_synthesis.summary import class_lines, summary, warn_of_missed_classes

ENDINGS = (".nii.gz", ".nrrd", ".mha")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Six label files of three formats with an origin and directions that are not the default."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for seed in range(6):
        image = sitk.GetImageFromArray(blob(seed, dtype="int16").voxels)
        image.SetSpacing((1.0, 1.0, 3.0))
        image.SetOrigin((5.0, -7.5, 100.0 + seed))
        image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
        sitk.WriteImage(image, str(folder / f"case{seed}{ENDINGS[seed % 3]}"))
    return folder


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The error line of a run that must fail with exit code 2, or nothing else on the terminal but progress."""
    assert run_noise(*arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mlbseg: error: ")]
    assert len(lines) == 1
    return lines[0]


def test_as_a_user_types_it_and_by_one_process_to_the_same_byte(labels: Path, tmp_path: Path) -> None:
    out = tmp_path / "noisy"
    done = subprocess.run(
        [sys.executable, "-m", "noise_synthesis", labels, out, "--level", "L2", "--seed", "1", "-np", "2"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "mean Dice 0.62" in done.stdout and "(wanted 0.6206) over 6 cases" in done.stdout
    dice = []
    for path in labels.iterdir():
        clean, noisy = sitk.ReadImage(str(path)), sitk.ReadImage(str(out / path.name))
        assert noisy.GetOrigin() == clean.GetOrigin() and noisy.GetDirection() == clean.GetDirection()
        assert noisy.GetSpacing() == clean.GetSpacing() and noisy.GetPixelIDValue() == clean.GetPixelIDValue()
        a, b = sitk.GetArrayFromImage(clean) > 0, sitk.GetArrayFromImage(noisy) > 0
        dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert np.mean(dice) == pytest.approx(0.6206, abs=0.005)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "noisy"]
    assert run_noise(labels, tmp_path / "one", "--level", "L2", "--seed", 1, "-np", 1) == 0
    names = [path.name for path in out.iterdir()]
    assert len(names) == 7
    assert filecmp.cmpfiles(out, tmp_path / "one", names, shallow=False)[0] == names


def test_provenance_has_what_made_the_labels(labels: Path, tmp_path: Path) -> None:
    options = ("--level", "0.8", "--recipe", "under_segmentation", "--seed", 5, "--no-per-slice", "-np", 1)
    assert run_noise(labels, tmp_path / "noisy", *options) == 0
    told = json.loads((tmp_path / "noisy" / "provenance.json").read_text())
    assert (told["recipe"], told["seed"], told["per_slice"], told["target_dice"]) == (
        "under_segmentation",
        5,
        False,
        0.8,
    )
    assert told["tool"] == "mlbseg noise" and told["version"] and told["source"] == "labels"
    assert list(told["cases"]) == [f"case{seed}" for seed in range(6)]
    assert all(0 < case["dice"] < 1 and case["parameters"] for case in told["cases"].values())
    assert str(tmp_path) not in json.dumps(told)


def ring_labels(folder: Path) -> Path:
    """Four label files of three classes that touch, and a fourth class that touches none."""
    folder.mkdir()
    for seed in range(4):
        label = np.pad(ring(seed).voxels, ((0, 0), (0, 0), (0, 12)))
        label[:, 10:20, 43:49] = 4
        sitk.WriteImage(sitk.GetImageFromArray(label), str(folder / f"ring{seed}.nii.gz"))
    return folder


def test_the_dice_of_each_class_is_told_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ring_labels(tmp_path / "rings")
    assert run_noise(folder, tmp_path / "noisy", "--level", "0.75", "-np", 1) == 0
    printed = capsys.readouterr()
    told = json.loads((tmp_path / "noisy" / "provenance.json").read_text())
    for value in (1, 2, 3, 4):
        dice = []
        for seed in range(4):
            clean, noisy = (
                sitk.GetArrayFromImage(sitk.ReadImage(str(path / f"ring{seed}.nii.gz"))) == value
                for path in (folder, tmp_path / "noisy")
            )
            dice.append(2 * (clean & noisy).sum() / (clean.sum() + noisy.sum()))
            assert told["cases"][f"ring{seed}"]["class_dice"][str(value)] == pytest.approx(dice[-1], abs=1e-5)
        assert told["classes"][str(value)]["mean_dice"] == pytest.approx(np.mean(dice), abs=1e-5)
        line = f"class {value}: mean Dice {np.mean(dice):.4f} over 4 cases, lowest {min(dice):.3f} (ring"
        assert line in printed.out
        assert np.mean(dice) == pytest.approx(0.75, abs=0.02)
    assert "warning" not in printed.err


def test_classes_out_of_reach_are_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--level", "0.75", "-np", 1, "--recipe", "class_confusion")
    assert run_noise(ring_labels(tmp_path / "rings"), tmp_path / "noisy", *options) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    told = json.loads((tmp_path / "noisy" / "provenance.json").read_text())["classes"]
    missed = [value for value in told if not told[value]["reached"]]
    assert "4" in missed and f"cannot bring {len(missed)} of 4 classes to the wanted mean Dice 0.7500" in line
    assert all(f"{value} ({told[value]['mean_dice']:.4f})" in line for value in missed)


def test_provenance_of_former_versions_can_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    former = {
        "recipe": "boundary",
        "per_slice": True,
        "target_dice": 0.8031,
        "mean_dice": 0.803,
        "strength_mm": 2.5,
        "spread": {"std": 0.01, "min": 0.7, "q25": 0.75, "median": 0.8, "q75": 0.85, "max": 0.9},
        "cases": {"a": {"dice": 0.8, "class_dice": {"1": 0.9, "2": 0.7}}, "b": {"dice": None, "reason": "none"}},
    }
    assert "strength 2.50 mm: mean Dice 0.8030 (wanted 0.8031) over 1 cases" in summary(former)
    assert class_lines(former) == [] and class_lines({"level": None}) == []
    warn_of_missed_classes(former)
    assert capsys.readouterr().err == ""


def test_an_existing_folder_is_replaced_with_force_only(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "noisy"
    assert run_noise(labels, out, "-np", 1) == 0
    before = (out / "provenance.json").read_text()
    assert "exists already" in error_of(capsys, labels, out, "-np", 1, "--seed", 1)
    assert (out / "provenance.json").read_text() == before
    assert run_noise(labels, out, "-np", 1, "--seed", 1, "--force") == 0
    assert (out / "provenance.json").read_text() != before


@pytest.mark.parametrize("processes", [1, 2])
def test_a_broken_label_is_named_and_nothing_is_left(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], processes: int
) -> None:
    (labels / "case9.nrrd").write_text("no header")
    line = error_of(capsys, labels, tmp_path / "noisy", "-np", processes)
    assert "case9.nrrd: cannot be read" in line
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--level", "L9"), "noise level: got 'L9', expected L1, L2, L3 or a Dice between 0 and 1"),
        (("--level", "0.001"), "target Dice 0.0010: recipe rotation_morphology reaches 0."),
        (("--recipe", "class_confusion"), "recipe class_confusion: got labels with 1 foreground class at most"),
        (("-np", 0), "-np 0: expected at least 1"),
        (("--seed", -3), "--seed -3: expected 0 or more"),
        (("--ignore-label", 0), "--ignore-label 0: expected a label above 0"),
        (("--ignore-label", 1), "none of the 6 labels has any foreground to corrupt"),
        (("--gallery", "a.jpg"), "--gallery a.jpg: expected a name ending in .png"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_leaves_nothing(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple, message: str
) -> None:
    assert message in error_of(capsys, labels, tmp_path / "noisy", "-np", 1, *options)
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


def test_folders_are_needed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "expected two folders, IN and OUT, or --gallery PNG" in error_of(capsys)
    assert "nowhere: no such folder" in error_of(capsys, tmp_path / "nowhere", tmp_path / "out")


def test_the_labels_themselves_are_never_written_over(labels: Path, tmp_path: Path) -> None:
    for target in (labels, labels / "inside", tmp_path):
        with pytest.raises(errors.InputError, match="choose a folder apart"):
            check_apart(labels, target)
    check_apart(labels, tmp_path / "labels_noisy")


def test_help_is_light() -> None:
    """The parser can be built without scipy, SimpleITK or torch."""
    script = (
        "import sys, argparse; from noise_synthesis.command import add_arguments; "
        "add_arguments(argparse.ArgumentParser()); "
        "sys.exit(any(name in sys.modules for name in ('scipy', 'SimpleITK', 'torch', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], timeout=60).returncode == 0
