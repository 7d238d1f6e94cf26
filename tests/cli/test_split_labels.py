"""``mlbseg split --former-labels`` and ``--true-labels``: further labels of cases, as links."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import array_of, make_nnunet, read, tree

from nnunetv2_mlbseg.cli.main import main

NAMES = ["A0", "A1", "A2", "B0", "B1", "C0"]
ROLES = ("--clean", "A*", "--noisy", "B*", "--unlabeled", "C0")


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    make_nnunet(tmp_path / "nnUNet_raw" / "Dataset030_Own", NAMES)
    return tmp_path / "nnUNet_raw"


@pytest.fixture
def labels(raw, tmp_path) -> Path:
    """Another label of every case but A2, one slice longer or shorter than that of the dataset."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for name in set(NAMES) - {"A2"}:
        old = sitk.ReadImage(str(raw / "Dataset030_Own" / "labelsTr" / f"{name}.nii.gz"))
        image = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(old), 1, axis=1))
        image.CopyInformation(old)
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    return folder


def split(*arguments: object) -> int:
    return main(["split", "30", "-d", "31", *ROLES, *map(str, arguments), "-np", "1"])


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_both_go_to_folders_of_their_own_as_links(raw, labels):
    before = tree(labels)
    assert split("--former-labels", labels, "--true-labels", labels, "--source", "old", "A0", "B*") == 0
    new = raw / "Dataset031_Own"
    assert names_in(new / "labelsTr_former") == ["A0.nii.gz", "A1.nii.gz"], "of clean cases, where there is one"
    assert names_in(new / "labelsTr_true") == ["B0.nii.gz", "B1.nii.gz", "C0.nii.gz"]
    for folder in ("labelsTr_former", "labelsTr_true"):
        assert all((labels / path.name).samefile(path) for path in (new / folder).iterdir())
    assert (new / "labelsTr" / "B0.nii.gz").samefile(raw / "Dataset030_Own" / "labelsTr" / "B0.nii.gz")
    assert (array_of(new / "labelsTr" / "C0.nii.gz") == 2).all() and tree(labels) == before
    assert read(new / "supervision" / "sources.json") == {"A0": "old", "B0": "old", "B1": "old"}
    assert main(["check", "31", "--skip-nnunet", "-np", "1"]) == 0


def test_true_labels_of_noisy_cases_can_be_scored(raw, labels, tmp_path):
    """B0 and B1 are labelled a row of voxels beside the truth."""
    assert split("--true-labels", labels) == 0
    new = raw / "Dataset031_Own"
    (tmp_path / "noisy.txt").write_text("B0\nB1\n")
    folders = (str(new / f"labelsTr{kind}") for kind in ("", "_true"))
    listed, scores = ("--cases", str(tmp_path / "noisy.txt")), tmp_path / "scores.json"
    assert main(["evaluate", *folders, *listed, "--json", str(scores)]) == 0
    found = {case["case"]: case["dice"] for case in read(scores)["cases"]}
    assert found.keys() == {"B0", "B1"} and all(0.5 < dice < 1 for dice in found.values())


@pytest.mark.parametrize(
    ("option", "damage", "said"),
    [
        ("--former-labels", lambda f: [f.joinpath(f"A{k}.nii.gz").unlink() for k in (0, 1)], "any of the 3 cases"),
        ("--true-labels", lambda f: (f / "B1.nii.gz").unlink(), "no label of 1 of 2 noisy cases (B1), expected a file"),
        ("--former-labels", lambda f: _change(f / "A0.nii.gz", lambda a: a[1:]), "A0.nii.gz: image and label differ"),
        ("--true-labels", lambda f: _change(f / "B0.nii.gz", lambda a: a * 5), "B0.nii.gz: "),
        ("--former-labels", lambda f: f.rename(f.with_name("gone")), "labels: no such folder"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(raw, labels, capsys, option, damage, said):
    damage(labels)
    assert split(option, labels) == 2
    (error,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line)
    assert said in error
    assert [path.name for path in raw.iterdir()] == ["Dataset030_Own"]


def test_a_clean_case_without_a_former_label_has_no_source(raw, labels, capsys):
    assert split("--former-labels", labels, "--source", "old", "A2") == 2
    assert "--source old: source of a case that is clean: A2; only noisy labels have" in capsys.readouterr().err


def test_further_labels_go_to_a_folder_for_each_source(raw, labels):
    sources = ("--source", "reader1", "B*", "--source", "reader 3", "A0", "--former-labels", labels)
    assert split("--further-labels", "reader2", labels, "--further-labels", "reader 3", labels, *sources) == 0
    new = raw / "Dataset031_Own"
    for folder in ("labelsTr_reader2", "labelsTr_reader 3"):
        assert names_in(new / folder) == ["A0.nii.gz", "A1.nii.gz", "B0.nii.gz", "B1.nii.gz"], "of no unlabeled case"
        assert all((labels / path.name).samefile(path) for path in (new / folder).iterdir())
    assert main(["check", "31", "--skip-nnunet", "-np", "1"]) == 0


@pytest.mark.parametrize(
    ("source", "more", "said"),
    [
        ("true", (), "source 'true': labelsTr_true has other labels, expected another name"),
        ("Former", (), "source 'Former': labelsTr_former has other labels"),
        ("a/b", (), "source 'a/b': expected letters, digits"),
        (".a", (), "source '.a': expected letters, digits"),
        ("reader2", ("--source", "reader2", "B0"), "labelsTr_reader2: reader2 has drawn labelsTr as well, says"),
    ],
)
def test_a_source_that_cannot_have_a_folder_is_one_line_and_leaves_nothing(raw, labels, capsys, source, more, said):
    assert split("--further-labels", source, labels, *more) == 2
    (error,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line)
    assert said in error and error.count("--further-labels") == 1
    assert [path.name for path in raw.iterdir()] == ["Dataset030_Own"]


def test_a_source_has_one_folder(raw, labels, capsys):
    assert split(*("--further-labels", "reader2", labels) * 2) == 2
    assert "--further-labels reader2: given twice" in capsys.readouterr().err


def _change(path: Path, how) -> None:
    image = sitk.ReadImage(str(path))
    changed = sitk.GetImageFromArray(how(sitk.GetArrayFromImage(image)))
    if changed.GetSize() == image.GetSize():
        changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path))
