"""Roles and folds of an own dataset: what the new dataset holds, and that the old one is not touched."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import array_of, make_nnunet, read, to_image, tree

from dataset_conversion.supervision.files import Supervision
from dataset_conversion.supervision.folds import clean_folds
from nnunetv2_mlbseg.cli.main import main
from noise_synthesis.safe_io.errors import InputError

# Five patients with two visits each.
NAMES = [f"P{patient}_visit{visit}" for patient in range(5) for visit in range(2)]


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    return tmp_path / "nnUNet_raw"


@pytest.fixture
def source(raw):
    return make_nnunet(raw / "Dataset030_Own", NAMES)


def split(*arguments: object) -> int:
    return main(["split", *map(str, arguments), "-np", "1"])


def folds_of(folder):
    return read(folder / "splits_final.json")


def test_roles_by_pattern_and_rest(source, raw):
    before = tree(source)
    assert split(30, "-d", 31, "--clean", "P[01]_*", "P2_visit0", "--unlabeled", "P4_*", "--noisy", "rest") == 0
    folder = raw / "Dataset031_Own"
    assert read(folder / "supervision" / "clean.json") == [*NAMES[:4], "P2_visit0"]
    assert read(folder / "supervision" / "noisy.json") == ["P2_visit1", "P3_visit0", "P3_visit1"]
    assert read(folder / "supervision" / "unlabeled.json") == ["P4_visit0", "P4_visit1"]
    assert read(folder / "dataset.json")["labels"] == {"background": 0, "class1": 1, "ignore": 2}
    assert tree(source) == before
    for name in NAMES:
        label = folder / "labelsTr" / f"{name}.nii.gz"
        original = source / "labelsTr" / f"{name}.nii.gz"
        if name.startswith("P4"):
            assert (array_of(label) == 2).all()
            assert sitk.ReadImage(str(label)).GetOrigin() == sitk.ReadImage(str(original)).GetOrigin()
            assert (folder / "labelsTr_true" / label.name).samefile(original)
        else:
            assert label.samefile(original)
        image = f"{name}_0000.nii.gz"
        assert (folder / "imagesTr" / image).samefile(source / "imagesTr" / image)


def test_default_folds_go_over_the_clean_cases(source, raw):
    assert split(30, "-d", 31, "--clean", "P[012]_*", "--noisy", "rest") == 0
    folds = folds_of(raw / "Dataset031_Own")
    clean = set(NAMES[:6])
    assert len(folds) == 5
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(clean)
    for fold in folds:
        assert set(NAMES[6:]) <= set(fold["train"])
        assert set(fold["train"]) | set(fold["val"]) == set(NAMES)
        assert not set(fold["train"]) & set(fold["val"])


def test_roles_by_file(source, raw, tmp_path):
    (tmp_path / "clean.txt").write_text("P0_visit0\nP1_visit0\n")
    assert split(source, "-d", 31, "--clean", tmp_path / "clean.txt", "--noisy", "rest", "--folds", 2) == 0
    assert read(raw / "Dataset031_Own" / "supervision" / "clean.json") == ["P0_visit0", "P1_visit0"]


def test_patients_stay_whole(source, raw):
    assert (
        split(30, "-d", 31, "--clean", "P[0123]_*", "--noisy", "rest", "--patient-regex", "^(P.)_", "--folds", 4) == 0
    )
    for fold in folds_of(raw / "Dataset031_Own"):
        assert len(fold["val"]) == 2
        assert not {case[:2] for case in fold["train"]} & {case[:2] for case in fold["val"]}


def test_a_patient_on_both_sides_is_refused(source, raw, capsys):
    arguments = ("--clean", "P[01]_*", "P2_visit0", "--noisy", "rest", "--patient-regex", "^P.")
    assert split(30, "-d", 31, *arguments) == 2
    said = capsys.readouterr().err
    assert "1 patients would be in both training and validation: P2 (P2: P2_visit1 trains, P2_visit0 validates)" in said
    assert said.endswith("Add --always-train P2_visit0, or --exclude P2_visit1\n")
    assert not (raw / "Dataset031_Own").exists()
    assert split(30, "-d", 31, *arguments, "--always-train", "P2_*") == 0
    assert sorted(case for fold in folds_of(raw / "Dataset031_Own") for case in fold["val"]) == NAMES[:4]


def test_all_patients_on_both_sides_are_named_whichever_fold_they_validate_in(source, raw, capsys):
    roles = ("--clean", "P0_visit0", "P1_visit0", "P2_*", "--noisy", "rest")
    assert split(30, "-d", 31, *roles, "--patient-regex", "^P.", "--folds", 3) == 2
    assert (
        "2 patients would be in both training and validation: P0, P1 (P0: P0_visit1 trains" in capsys.readouterr().err
    )


def test_evaluation_cases_instead_of_folds(source, raw, capsys):
    arguments = ("--clean", "P0_*", "--noisy", "rest", "--evaluation", "P1_*")
    assert split(30, "-d", 31, *arguments) == 0
    (fold,) = folds_of(raw / "Dataset031_Own")
    assert fold["val"] == ["P1_visit0", "P1_visit1"]
    assert sorted(fold["train"]) == [name for name in NAMES if not name.startswith("P1")]
    assert split(30, "-d", 32, *arguments, "--folds", 2) == 2
    assert "give one" in capsys.readouterr().err
    other = ("--clean", "P0_*", "--noisy", "rest", "--evaluation", "P1_visit0", "--patient-regex", "^P.")
    assert split(30, "-d", 32, *other) == 2
    assert "(P1: P1_visit1 trains, P1_visit0 validates). Add --exclude P1_visit1\n" in capsys.readouterr().err
    assert split(30, "-d", 32, *arguments, "--always-train", "P0_*") == 2
    assert "with --evaluation every clean case trains, so leave it out" in capsys.readouterr().err


def test_unlabeled_images(source, raw, tmp_path):
    further = make_nnunet(tmp_path / "further", ["new1", "new2"]) / "imagesTr"
    (further / "new2_0000.nii.gz").rename(further / "new2.nii.gz")
    assert split(30, "-d", 31, "--clean", "P[012]*", "--noisy", "rest", "--unlabeled-images", further) == 0
    folder = raw / "Dataset031_Own"
    assert read(folder / "supervision" / "unlabeled.json") == ["new1", "new2"]
    assert read(folder / "dataset.json")["numTraining"] == 12
    assert read(folder / "supervision" / "provenance.json")["added_unlabeled"] == ["new1", "new2"]
    assert not (folder / "labelsTr_true").exists()
    image = sitk.ReadImage(str(folder / "imagesTr" / "new2_0000.nii.gz"))
    label = sitk.ReadImage(str(folder / "labelsTr" / "new2.nii.gz"))
    assert (sitk.GetArrayFromImage(label) == 2).all()
    assert (label.GetSize(), label.GetSpacing()) == (image.GetSize(), image.GetSpacing())
    assert label.GetDirection() == pytest.approx(image.GetDirection())
    assert all({"new1", "new2"} <= set(fold["train"]) for fold in folds_of(folder))


def test_unlabeled_cases_need_no_label_file(source, raw):
    (source / "labelsTr" / "P4_visit0.nii.gz").unlink()
    assert split(30, "-d", 31, "--clean", "P[012]*", "--noisy", "P3*", "--unlabeled", "rest") == 0
    folder = raw / "Dataset031_Own"
    assert (array_of(folder / "labelsTr" / "P4_visit0.nii.gz") == 2).all()
    assert [path.name for path in (folder / "labelsTr_true").iterdir()] == ["P4_visit1.nii.gz"]


def test_test_images_come_along(source, raw):
    (source / "imagesTs").mkdir()
    (source / "imagesTs" / "t_0000.nii.gz").write_bytes(b"x")
    assert split(30, "-d", 31, "--clean", "P[012]*", "--noisy", "rest") == 0
    assert (raw / "Dataset031_Own" / "imagesTs" / "t_0000.nii.gz").samefile(source / "imagesTs" / "t_0000.nii.gz")


def test_next_free_number_by_itself(source, raw, capsys):
    assert split(30, "--clean", "P[012]*", "--noisy", "rest") == 0
    assert "Dataset001_Own" in capsys.readouterr().out
    assert (raw / "Dataset001_Own" / "dataset.json").exists()


def test_symbolic_links_across_volumes(source, raw, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("other volume")

    monkeypatch.setattr(os, "link", refuse)
    assert split(30, "-d", 31, "--clean", "P[012]*", "--noisy", "rest") == 0
    link = raw / "Dataset031_Own" / "imagesTr" / "P0_visit0_0000.nii.gz"
    assert link.is_symlink()
    assert link.samefile(source / "imagesTr" / link.name)
    monkeypatch.setattr(os, "symlink", refuse)
    assert split(30, "-d", 32, "--clean", "P[012]*", "--noisy", "rest") == 0
    copy = raw / "Dataset032_Own" / "imagesTr" / link.name
    assert not copy.samefile(link)
    assert copy.read_bytes() == link.read_bytes()


def remove(path):
    def act(source):
        (source / path).unlink()

    return act


@pytest.mark.parametrize(
    ("damage", "arguments", "said"),
    [
        (None, ("--clean", "P0_*"), "8 cases have no role: P1_visit0, P1_visit1"),
        (
            None,
            ("--clean", "nobody*", "--noisy", "rest"),
            "--clean nobody*: no such file, and no case whose name matches",
        ),
        (None, ("--clean", "P0_*", "--noisy", "*"), "--clean and --noisy both take P0_visit0, P0_visit1"),
        (None, ("--clean", "rest", "--noisy", "rest"), "only one role can take the rest"),
        (None, ("--clean", "rest"), "neither a noisy nor an unlabeled case"),
        (None, ("--noisy", "rest"), "0 clean cases can validate"),
        (
            None,
            ("--clean", "P0_visit0", "--noisy", "rest"),
            "1 clean cases can validate, and folds need 2 or",
        ),
        (
            None,
            ("--clean", "P0_*", "--noisy", "rest", "--folds", "3"),
            "2 to that many folds: --folds 2",
        ),
        (None, ("--clean", "P0_*", "--noisy", "rest", "--patient-regex", "(("), "not a regular expression"),
        (None, ("--clean", "P0_*", "--noisy", "rest", "--patient-regex", "Q"), "finds no patient in the case name"),
        (None, ("--clean", "P0_*", "--noisy", "rest", "--unlabeled-images", "nowhere"), "nowhere: no such folder"),
        (remove("labelsTr/P3_visit0.nii.gz"), ("--clean", "P0_*", "--noisy", "rest"), "P3_visit0.nii.gz"),
        (remove("dataset.json"), ("--clean", "P0_*", "--noisy", "rest"), "dataset.json: no such file"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(source, raw, capsys, damage, arguments, said):
    if damage:
        damage(source)
    assert split(30, "-d", 31, *arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mlbseg: error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert [path.name for path in raw.iterdir()] == ["Dataset030_Own"]


@pytest.mark.parametrize("command", ["split", "convert"])
def test_label_values_with_a_gap_are_refused(raw, capsys, command):
    """Values 0, 1, 3: a training would end in an index error."""
    folder = make_nnunet(raw / "Dataset030_Own", NAMES)
    description = read(folder / "dataset.json")
    (folder / "dataset.json").write_text(json.dumps({**description, "labels": {"background": 0, "a": 1, "b": 3}}))
    arguments = {"split": ["split", "30"], "convert": ["convert", "nnunet", "30"]}[command]
    assert main([*arguments, "-d", "31", "--clean", "4", "-np", "1"]) == 2
    said = capsys.readouterr().err
    assert "dataset.json: label values [0, 1, 3]; expected 0, 1, 2, ... with background 0: renumber them" in said
    assert [path.name for path in raw.iterdir()] == ["Dataset030_Own"]


def test_bad_unlabeled_images(source, raw, tmp_path, capsys):
    folder = tmp_path / "further"
    arguments = (30, "-d", 31, "--clean", "P[012]*", "--noisy", "rest", "--unlabeled-images", folder)

    def refusal() -> str:
        assert split(*arguments) == 2
        return capsys.readouterr().err

    folder.mkdir()
    assert "no file that ends in .nii.gz" in refusal()
    image = to_image(np.zeros((6, 20, 24), np.float32), (1, 1, 1))
    sitk.WriteImage(image, str(folder / "P0_visit0_0000.nii.gz"))
    assert "has cases of this name already: P0_visit0" in refusal()
    (folder / "P0_visit0_0000.nii.gz").rename(folder / "new_0001.nii.gz")
    assert "case new has channels [1]; the dataset needs [0]" in refusal()
    (folder / "new_0001.nii.gz").write_bytes(b"x")
    (folder / "new_0001.nii.gz").rename(folder / "new_0000.nii.gz")
    assert "new_0000.nii.gz: cannot be read" in refusal()
    assert [path.name for path in raw.iterdir()] == ["Dataset030_Own"]


def test_channels_of_an_unlabeled_image_must_lie_on_one_grid(raw, tmp_path, capsys):
    make_nnunet(raw / "Dataset030_Own", NAMES, channels=2)
    folder = tmp_path / "further"
    folder.mkdir()
    for channel, spacing in enumerate(((1, 1, 1), (1, 1, 2))):
        image = to_image(np.zeros((6, 20, 24), np.float32), spacing)
        sitk.WriteImage(image, str(folder / f"new_{channel:04d}.nii.gz"))
    assert split(30, "-d", 31, "--clean", "P[012]*", "--noisy", "rest", "--unlabeled-images", folder) == 2
    assert (
        "new_0000.nii.gz: cannot be read (ERROR! Not all input images have the same spacing!)"
        in capsys.readouterr().err
    )


def test_folds_are_even_and_depend_on_the_seed():
    supervision = Supervision(clean=tuple(f"c{i}" for i in range(11)), unlabeled=("u",))
    folds = clean_folds(supervision, 4, seed=0)
    assert sorted(len(fold["val"]) for fold in folds) == [2, 3, 3, 3]
    assert folds == clean_folds(supervision, 4, seed=0)
    assert folds != clean_folds(supervision, 4, seed=1)


def test_one_fold_is_none():
    with pytest.raises(InputError, match="--folds 1"):
        clean_folds(Supervision(clean=("a", "b"), unlabeled=("u",)), 1, seed=0)
