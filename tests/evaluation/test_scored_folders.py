"""``mlbseg evaluate`` on small label files whose scores are known by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunetv2_mlbseg.cli.main import main

SPACING_MM = (0.5, 0.5, 2.0)  # x, y, z


def write(path: Path, labels: np.ndarray, spacing_mm: tuple[float, ...] = SPACING_MM) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(spacing_mm)
    sitk.WriteImage(image, str(path))


def point(z: int, y: int, x: int, value: int = 1) -> np.ndarray:
    labels = np.zeros((6, 8, 8), np.uint8)
    labels[z, y, x] = value
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Case ``a``: one point, 2 slices off. Case ``b``: the same cube on both sides."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    write(predictions / "a.nii.gz", point(3, 2, 2))
    write(references / "a.nii.gz", point(1, 2, 2))
    cube = np.zeros((6, 8, 8), np.uint8)
    cube[1:4, 2:5, 2:5] = 1
    write(predictions / "b.nii.gz", cube)
    write(references / "b.nii.gz", cube)
    return predictions, references


def evaluate(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments)])


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert evaluate(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_scores_table_json_and_csv(folders, tmp_path, capsys):
    assert evaluate(*folders, "--json", tmp_path / "s.json", "--csv", tmp_path / "s.csv") == 0
    content = json.loads((tmp_path / "s.json").read_text())
    a, b = content["cases"]
    assert (a["case"], a["dice"], a["hd_voxels"], a["hd_mm"], a["assd_mm"]) == ("a", 0, 2, 4, 4)
    assert (b["case"], b["dice"], b["jaccard"], b["hd95_mm"]) == ("b", 1, 1, 0)
    assert content["mean"][0]["dice"] == 0.5 and content["mean"][0]["asd_mm"] == 2
    with open(tmp_path / "s.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["a", "b"] and float(rows[0]["hd95_mm"]) == 4
    printed = capsys.readouterr().out.splitlines()
    assert printed[2].split() == ["a", "1", "0.00", "0.00", *4 * ["2.00", "/", "4.00"]]
    assert printed[-1].startswith("mean of 2")


def test_cases_in_both_folders_are_scored_and_the_others_counted(folders, tmp_path, capsys):
    """The validation cases of a fold against labelsTr: most references have no prediction."""
    predictions, references = folders
    for name in "cdefgh":
        write(references / f"{name}.nii.gz", point(1, 2, 2))
    write(predictions / "z.nii.gz", point(1, 2, 2))
    assert evaluate(predictions, references, "--json", tmp_path / "s.json") == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [
        "not scored: 6 references without a prediction: c, d, e, f, g and 1 more",
        "not scored: 1 predictions without a reference: z",
    ]
    assert [line.split()[:3] for line in printed if line.startswith("mean of")] == [["mean", "of", "2"]]
    content = json.loads((tmp_path / "s.json").read_text())
    assert {row["case"] for row in content["cases"]} == {"a", "b"}
    assert (content["without_prediction"], content["without_reference"]) == (list("cdefgh"), ["z"])


def test_equal_folders_have_nothing_to_say(folders, tmp_path, capsys):
    assert evaluate(*folders, "--json", tmp_path / "s.json") == 0
    assert "not scored" not in capsys.readouterr().out
    assert json.loads((tmp_path / "s.json").read_text())["without_prediction"] == []


def test_no_case_in_both_folders_is_an_error_with_a_name_of_each(folders, capsys):
    predictions, references = folders
    for name in "ab":
        (predictions / f"{name}.nii.gz").rename(predictions / f"{name}_0000.nii.gz")
    assert f"no case in common with {references}, a_0000 here and a there" in error_of(capsys, predictions, references)


def test_names_that_look_the_same_are_one_case(folders, tmp_path, capsys):
    predictions, references = folders
    (predictions / "a.nii.gz").rename(predictions / "Jos\u00e9 1.nii.gz")
    (references / "a.nii.gz").rename(references / "Jose\u0301 1.nii.gz")
    (tmp_path / "cases.txt").write_bytes("\ufeffJos\u00e9 1\r\nb\r\n".encode())
    for more in ((), ("--cases", tmp_path / "cases.txt")):
        assert evaluate(predictions, references, *more) == 0
        assert "mean of 2" in capsys.readouterr().out


def test_classes_are_found_beside_a_folder_that_is_a_link(folders, tmp_path, capsys):
    """labelsTr of a linked dataset: dataset.json lies beside the link."""
    predictions, references = folders
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    (dataset / "labelsTr").symlink_to(references, target_is_directory=True)
    (dataset / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "heart": 1}}))
    assert evaluate(predictions, dataset / "labelsTr") == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["a", "heart"]


def test_a_list_of_cases_narrows_both_sides(folders, tmp_path, capsys):
    predictions, references = folders
    (predictions / "b.nii.gz").unlink()
    (tmp_path / "cases.json").write_text('["a"]')
    assert evaluate(predictions, references, "--cases", tmp_path / "cases.json") == 0
    assert "mean of 1" in capsys.readouterr().out
    (tmp_path / "cases.txt").write_text("a\nc\n")
    assert "no file for 1 case(s): c" in error_of(capsys, predictions, references, "--cases", tmp_path / "cases.txt")


def test_dataset_json_gives_names_regions_and_the_ignore_label(folders, tmp_path, capsys):
    """With label 3 ignored, the prediction's extra point there does not count; classes absent everywhere score 1."""
    predictions, references = folders
    reference = point(1, 2, 2)
    reference[5, 5, 5] = 3
    write(references / "a.nii.gz", reference)
    write(predictions / "a.nii.gz", point(1, 2, 2) + point(5, 5, 5))
    labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert evaluate(predictions, references, "--json", tmp_path / "s.json") == 0
    rows = json.loads((tmp_path / "s.json").read_text())["cases"]
    assert [(row["case"], row["class"], row["dice"]) for row in rows] == [
        ("a", "whole", 1), ("a", "core", 1), ("b", "whole", 1), ("b", "core", 1),
    ]  # fmt: skip


def test_the_ignore_label_can_be_given(folders, capsys):
    predictions, references = folders
    write(references / "a.nii.gz", point(1, 2, 2) + point(3, 2, 2, 7))
    assert evaluate(predictions, references, "--ignore-label", 7) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:3] == ["a", "1", "0.00"]
    assert "no distances in 1 of 2 cases" in lines[-1]


def test_one_empty_mask_becomes_null_and_is_left_out_of_the_means(folders, tmp_path):
    predictions, references = folders
    write(predictions / "a.nii.gz", point(0, 0, 0, 0))
    assert evaluate(predictions, references, "--json", tmp_path / "s.json") == 0
    content = json.loads((tmp_path / "s.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert content["cases"][0]["hd_mm"] is None
    assert content["mean"][0]["undefined_distances"] == 1 and content["mean"][0]["hd_mm"] == 0
    assert math.isclose(content["mean"][0]["dice"], 0.5)


def test_different_geometry_is_an_error(folders, capsys):
    predictions, references = folders
    write(predictions / "a.nii.gz", point(1, 2, 2)[:5])
    assert "they differ in shape: (5, 8, 8) and (6, 8, 8)" in error_of(capsys, predictions, references)
    write(predictions / "a.nii.gz", point(1, 2, 2), (0.5, 0.5, 3.0))
    assert "spacing (0.5, 0.5, 3.0) and (0.5, 0.5, 2.0)" in error_of(capsys, predictions, references)


def test_unusable_input_is_one_clear_line(folders, tmp_path, capsys):
    predictions, references = folders
    assert "no such folder" in error_of(capsys, tmp_path / "nowhere", references)
    (tmp_path / "empty").mkdir()
    assert "no label file" in error_of(capsys, tmp_path / "empty", references)
    (tmp_path / "s.json").write_text("mine")
    assert "--force overwrites it" in error_of(capsys, predictions, references, "--json", tmp_path / "s.json")
    assert (tmp_path / "s.json").read_text() == "mine"
    (predictions / "a.nii.gz").write_bytes(b"not an image")
    assert "a.nii.gz: cannot be read" in error_of(capsys, predictions, references)
    write(predictions / "a.nii.gz", np.full((6, 8, 8), 0.5, np.float32))
    assert "values that are not whole numbers" in error_of(capsys, predictions, references)
