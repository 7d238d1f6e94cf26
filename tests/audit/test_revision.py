"""``mlbseg audit --apply``: a new version of a dataset with the labels that a person accepted or drew anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import array_of
from training_support import DATASET, SUPERVISION, write_raw_dataset

from dataset_conversion.supervision.files import read_splits, read_supervision
from nnunetv2_mlbseg.cli.main import main


@pytest.fixture
def raw(nnunet_folders) -> Path:
    return write_raw_dataset(Path(nnunet_folders["nnUNet_raw"]))


def write_new_label(raw: Path, folder: Path, case: str, value: int = 1) -> None:
    """A label with a cross of its own in every slice."""
    old = sitk.ReadImage(str(raw / "labelsTr" / f"{case}.nii.gz"))
    array = np.zeros_like(sitk.GetArrayFromImage(old))
    array[:, 10, :] = value
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(old)
    folder.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(folder / f"{case}.nii.gz"))


def select(path: Path, cases: dict[str, str], dataset: str = DATASET) -> Path:
    path.write_text(json.dumps({"dataset": dataset, "cases": cases}))
    return path


@pytest.fixture
def decided(raw, tmp_path):
    """n0 is accepted as corrected, n1 was drawn anew."""
    write_new_label(raw, tmp_path / "corrected", "n0")
    write_new_label(raw, tmp_path / "drawn", "n1")
    selection = select(tmp_path / "SELECTION.json", {"n0": "proposal", "n1": "reannotated"})
    folders = ["--corrected", tmp_path / "corrected", "--reannotated", tmp_path / "drawn"]
    return ["audit", "900", "--apply", selection, *folders, "-d", "901"]


def run(arguments) -> int:
    return main([str(argument) for argument in arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_new_version_has_the_new_labels_and_roles_and_the_old_stays(raw, decided, tmp_path, capsys):
    before = contents(raw)
    assert run(decided) == 0
    assert "Dataset901_Tiny: 2 labels replaced; 3 clean, 1 noisy, 2 unlabeled" in capsys.readouterr().out
    assert contents(raw) == before
    new = raw.with_name("Dataset901_Tiny")
    after = contents(new)
    changed = {"labelsTr/n0.nii.gz", "labelsTr/n1.nii.gz", "supervision/clean.json", "supervision/noisy.json"}
    assert {name for name in before if after[name] != before[name]} == changed
    assert set(after) - set(before) == {"supervision/provenance.json", "labelsTr_former/n1.nii.gz"}
    assert after["labelsTr_former/n1.nii.gz"] == before["labelsTr/n1.nii.gz"], "what it was before it was drawn anew"
    assert after["labelsTr/n0.nii.gz"] == (tmp_path / "corrected" / "n0.nii.gz").read_bytes()
    roles = read_supervision(new)
    assert roles.clean == ("c0", "c1", "n1") and roles.noisy == ("n0",) and roles.unlabeled == SUPERVISION.unlabeled
    assert read_splits(new) == read_splits(raw)
    provenance = json.loads(after["supervision/provenance.json"])
    assert provenance["revisions"][0]["decisions"] == {"n0": "proposal", "n1": "reannotated"}
    assert provenance["revisions"][0]["source"] == DATASET


def test_a_second_revision_is_added_to_the_first(raw, decided, tmp_path):
    assert run(decided) == 0
    new = raw.with_name("Dataset901_Tiny")
    first = (new / "supervision" / "provenance.json").read_bytes()
    again = select(tmp_path / "again.json", {"n0": "reannotated"}, "Dataset901_Tiny")
    write_new_label(raw, tmp_path / "drawn", "n0")
    assert run(["audit", "901", "--apply", again, "--reannotated", tmp_path / "drawn", "-d", 902]) == 0
    revisions = json.loads((new.with_name("Dataset902_Tiny") / "supervision" / "provenance.json").read_text())[
        "revisions"
    ]
    assert [revision["source"] for revision in revisions] == [DATASET, "Dataset901_Tiny"]
    assert (new / "supervision" / "provenance.json").read_bytes() == first
    assert read_supervision(new.with_name("Dataset902_Tiny")).noisy == ()


def test_an_unlabeled_case_that_was_drawn_becomes_clean(raw, tmp_path, capsys):
    before = contents(raw)
    write_new_label(raw, tmp_path / "drawn", "u1")
    write_new_label(raw, tmp_path / "drawn", "n0")
    selection = select(tmp_path / "SELECTION.json", {"u1": "reannotated", "n0": "reannotated"})
    assert run(["audit", "900", "--apply", selection, "--reannotated", tmp_path / "drawn", "-d", 901]) == 0
    assert "2 labels replaced; 4 clean, 1 noisy, 1 unlabeled" in capsys.readouterr().out
    new = raw.with_name("Dataset901_Tiny")
    roles = read_supervision(new)
    assert (roles.clean, roles.noisy, roles.unlabeled) == (("c0", "c1", "n0", "u1"), ("n1",), ("u0",))
    assert set(np.unique(array_of(new / "labelsTr" / "u1.nii.gz"))) == {0, 1}
    assert [path.name for path in (new / "labelsTr_former").iterdir()] == ["n0.nii.gz"], "u1 had no label before"
    assert contents(raw) == before


@pytest.mark.parametrize(
    ("cases", "dataset", "message"),
    [
        ({"n0": "proposal"}, "Dataset001_Other", "made for Dataset001_Other, expected Dataset900_Tiny"),
        ({}, DATASET, "no case in it"),
        ({"n0": "maybe"}, DATASET, "has the decision 'maybe', expected proposal or reannotated"),
        ({"c0": "proposal"}, DATASET, "c0: no noisy or unlabeled case of Dataset900_Tiny"),
        ({"u0": "proposal"}, DATASET, "u0: proposal, but unlabeled in Dataset900_Tiny, so that there is no correction"),
        ({"n1": "proposal"}, DATASET, "no file of n1, expected NAME.nii.gz"),
    ],
)
def test_a_selection_that_does_not_fit_is_refused(decided, raw, tmp_path, capsys, cases, dataset, message):
    select(tmp_path / "SELECTION.json", cases, dataset)
    assert run(decided) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in raw.parent.iterdir()] == [DATASET]


def test_labels_that_do_not_fit_and_missing_options_are_refused(decided, raw, tmp_path, capsys):
    write_new_label(raw, tmp_path / "drawn", "n1", value=9)
    assert run(decided) == 2
    assert "n1.nii.gz: has the values [9], expected only [0, 1, 2]" in capsys.readouterr().err
    image = sitk.ReadImage(str(raw / "labelsTr" / "n1.nii.gz"))
    image.SetSpacing((2, 2, 2))
    sitk.WriteImage(image, str(tmp_path / "drawn" / "n1.nii.gz"))
    assert run(decided) == 2
    assert "spacing (2.0, 2.0, 2.0) and (1.0, 1.0, 3.0)" in capsys.readouterr().err
    assert run([*decided[:4], "-d", "901"]) == 2
    assert "say where they lie by --corrected DIR" in capsys.readouterr().err
    assert run([*decided[:-1], "900", "--force"]) == 2
    assert "the dataset itself, which stays as it is" in capsys.readouterr().err
    assert run(["audit", "900"]) == 2
    assert "--out is missing" in capsys.readouterr().err
    assert [path.name for path in raw.parent.iterdir()] == [DATASET]


def test_something_else_than_a_selection_is_refused(decided, tmp_path, capsys):
    (tmp_path / "SELECTION.json").write_text("[1, 2]")
    assert run(decided) == 2
    assert 'expected an object with "dataset" and "cases"' in capsys.readouterr().err
