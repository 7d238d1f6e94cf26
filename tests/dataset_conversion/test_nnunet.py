"""Simulation from an existing nnU-Net dataset, several classes and channels, and other file formats."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import array_of, make_nnunet, read, tree
from skimage import io

from dataset_conversion import nnunet
from dataset_conversion.checks.leaks import recorded_pattern
from dataset_conversion.simulation.options import run_as_script
from nnunetv2_mlbseg.cli.main import main

NAMES = [f"p{number}" for number in range(10)]


def convert(*arguments: object) -> int:
    return run_as_script(nnunet.DESCRIPTION, nnunet.add_arguments, nnunet.run, [str(a) for a in arguments])


def usual(*more: object) -> int:
    return convert(30, "-d", 31, "--clean", 2, "--noise-level", 0.8, "-np", 1, *more)


@pytest.fixture
def raw(nnunet_folders, tmp_path):
    return tmp_path / "nnUNet_raw"


@pytest.fixture
def source(raw):
    return make_nnunet(raw / "Dataset030_Own", NAMES, channels=2, classes=2)


def test_two_classes_and_channels(source, raw, capsys):
    before = tree(source)
    assert usual("--noisy-ratio", 0.5) == 0
    printed = capsys.readouterr().out
    folder = raw / "Dataset031_Own"
    assert read(folder / "dataset.json")["labels"] == {"background": 0, "class1": 1, "class2": 2, "ignore": 3}
    assert len(list((folder / "imagesTr").iterdir())) == 20
    provenance = read(folder / "supervision" / "provenance.json")
    dice, dice_of = [], {1: [], 2: []}
    for name in NAMES:
        label, true = (array_of(path / "labelsTr" / f"{name}.nii.gz") for path in (folder, source))
        if name in provenance["split"]["noisy"]:
            assert set(np.unique(label)) <= {0, 1, 2}
            per_class = [
                2 * ((label == c) & (true == c)).sum() / ((label == c).sum() + (true == c).sum()) for c in (1, 2)
            ]
            dice.append(np.mean(per_class))
            for value in (1, 2):
                dice_of[value].append(per_class[value - 1])
            assert dice[-1] == pytest.approx(provenance["noise"]["cases"][name]["dice"], abs=1e-5)
        elif name in provenance["split"]["unlabeled"]:
            assert (label == 3).all()
        else:
            np.testing.assert_array_equal(label, true)
    assert np.mean(dice) == pytest.approx(0.8, abs=0.005)
    for value, found in dice_of.items():
        assert np.mean(found) == pytest.approx(0.8, abs=0.02)
        assert provenance["noise"]["classes"][str(value)]["mean_dice"] == pytest.approx(np.mean(found), abs=1e-5)
        assert f"class {value}: mean Dice {np.mean(found):.4f} over {len(found)} cases" in printed
    assert tree(source) == before


def test_images_are_links(source, raw):
    assert usual() == 0
    for path in (raw / "Dataset031_Own" / "imagesTr").iterdir():
        assert path.samefile(source / "imagesTr" / path.name)


def test_a_patients_cases_are_held_out_together_and_check_knows_the_pattern(raw, capsys):
    make_nnunet(raw / "Dataset030_Own", [f"P{patient}_{scan}" for patient in range(5) for scan in "ab"])
    assert usual("--patient-regex", "^(P[0-9]+)_") == 0
    folder = raw / "Dataset031_Own"
    (fold,) = read(folder / "splits_final.json")
    training, held_out = ({name.split("_")[0] for name in fold[side]} for side in ("train", "val"))
    assert len(held_out) == 1 and len(fold["val"]) == 2 and not training & held_out
    assert read(folder / "supervision" / "provenance.json")["options"]["patient_regex"] == "^(P[0-9]+)_"
    assert recorded_pattern(folder) == "^(P[0-9]+)_"


@pytest.mark.parametrize(("patients", "scans"), [(3, "ab"), (4, "abcd"), (3, "abcdefghij")])
def test_a_patient_is_held_out_even_if_it_is_more_than_a_fifth(raw, patients, scans):
    make_nnunet(raw / "Dataset030_Own", [f"P{patient}_{scan}" for patient in range(patients) for scan in scans])
    assert usual("--patient-regex", "^([^_/]+)_") == 0
    (fold,) = read(raw / "Dataset031_Own" / "splits_final.json")
    assert len(fold["val"]) == len(scans) and len({name[:2] for name in fold["val"]}) == 1
    assert recorded_pattern(raw / "Dataset031_Own") == "^([^_/]+)_", "no path, though it has a slash"


@pytest.mark.parametrize(("asked", "clean"), [(1, 2), (2, 2), (3, 4), (6, 6)])
def test_clean_patients_are_drawn_whole_until_so_many_cases_are_clean(raw, asked, clean):
    make_nnunet(raw / "Dataset030_Own", [f"P{patient}_{scan}" for patient in range(5) for scan in "ab"])
    assert usual("--patient-regex", "^(P[0-9]+)_", "--clean", asked) == 0
    roles = {role: read(raw / "Dataset031_Own" / "supervision" / f"{role}.json") for role in ("clean", "noisy")}
    patients = {role: {name[:2] for name in cases} for role, cases in roles.items()}
    assert len(roles["clean"]) == clean and len(roles["noisy"]) == 8 - clean
    assert not patients["clean"] & patients["noisy"]


def test_what_was_converted_by_patients_can_be_split_into_folds_by_patients(raw):
    make_nnunet(raw / "Dataset030_Own", [f"P{patient}_{scan}" for patient in range(6) for scan in "ab"])
    assert usual("--patient-regex", "^(P[0-9]+)_", "--clean", 3) == 0
    folder = raw / "Dataset031_Own"
    lists = [folder / "supervision" / f"{role}.json" for role in ("clean", "noisy")]
    (held_out,) = (fold["val"] for fold in read(folder / "splits_final.json"))
    (raw.parent / "held_out.json").write_text(json.dumps(held_out))
    roles = ("--clean", lists[0], "--noisy", lists[1], raw.parent / "held_out.json", "--patient-regex", "^(P.)_")
    assert main(["split", *map(str, ("31", "-d", "32", *roles, "-np", "1"))]) == 0
    assert len(read(raw / "Dataset032_Own" / "splits_final.json")) == 2


def test_the_only_training_patient_cannot_be_both_clean_and_noisy(raw, tmp_path, capsys):
    names = [f"P{patient}_{scan}" for patient in range(2) for scan in "abcd"]
    make_nnunet(raw / "Dataset030_Own", names)
    assert usual("--patient-regex", "^(P[0-9]+)_") == 2
    line = capsys.readouterr().err
    assert "--clean 2: clean patients are taken whole, and all 4 training cases are of one; give a file" in line
    (tmp_path / "clean.txt").write_text("P0_a\n")
    assert usual("--patient-regex", "^(P[0-9]+)_", "--clean", tmp_path / "clean.txt") == 0


def test_more_clean_cases_than_patients_allow(raw, capsys):
    make_nnunet(raw / "Dataset030_Own", [f"P{patient}_{scan}" for patient in range(5) for scan in "ab"])
    assert usual("--patient-regex", "^(P[0-9]+)_", "--clean", 7) == 2
    assert "--clean 7: expected 1 to 6" in capsys.readouterr().err
    assert usual("--patient-regex", "^(P[0-9]+)_", "--clean", 6) == 0


def test_with_a_clean_case_of_every_patient_none_can_be_held_out(raw, tmp_path, capsys):
    make_nnunet(raw / "Dataset030_Own", ["P0_a", "P0_b", "P1_a", "P1_b", "phantom"])
    (tmp_path / "clean.txt").write_text("P0_a\nP1_a\n")
    (tmp_path / "not.txt").write_text("phantom\n")
    options = ("--patient-regex", "^(P[0-9]+)_", "--clean", tmp_path / "clean.txt", "--exclude", tmp_path / "not.txt")
    assert usual(*options) == 2
    assert "clean list: 2 of 4 cases, which leaves none to hold out" in capsys.readouterr().err


def test_a_listed_case_must_not_part_a_patient(raw, tmp_path, capsys):
    make_nnunet(raw / "Dataset030_Own", [f"P{patient}_{scan}" for patient in range(5) for scan in "ab"])
    (tmp_path / "held_out.txt").write_text("P3_a\nP1_b\n")
    assert usual("--patient-regex", "^(P[0-9]+)_", "--evaluation", tmp_path / "held_out.txt") == 2
    line = capsys.readouterr().err
    assert "2 patients would be in both training and validation: P1, P3 (P1: in fold 0 P1_a trains" in line
    assert line.strip().endswith("List whole patients by --evaluation")
    assert not (raw / "Dataset031_Own").exists()


def test_an_ignore_label_of_the_source_is_used_and_its_voxels_stay(source, raw):
    description = read(source / "dataset.json")
    description["labels"]["ignore"] = 3
    (source / "dataset.json").write_text(json.dumps(description))
    for name in NAMES:
        path = str(source / "labelsTr" / f"{name}.nii.gz")
        label = sitk.ReadImage(path)
        label[:, :, 0] = 3
        sitk.WriteImage(label, path)
    assert usual("--noisy-ratio", 0.5) == 0
    folder = raw / "Dataset031_Own"
    assert read(folder / "dataset.json")["labels"]["ignore"] == 3
    for name in read(folder / "supervision" / "noisy.json"):
        label = array_of(folder / "labelsTr" / f"{name}.nii.gz")
        assert (label[0] == 3).all()
        assert (label[1:] != 3).all()


def test_natural_images(raw):
    """PNG goes through nnU-Net's own reader; the label stays a PNG of the same size."""
    folder = raw / "Dataset030_Own"
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        label = np.zeros((40, 50), np.uint8)
        label[8:30, 5 + number : 30] = 1
        io.imsave(folder / "labelsTr" / f"{name}.png", label, check_contrast=False)
        io.imsave(folder / "imagesTr" / f"{name}_0000.png", label * 100, check_contrast=False)
    labels = {"background": 0, "thing": 1}
    description = {"channel_names": {"0": "L"}, "labels": labels, "numTraining": 10, "file_ending": ".png"}
    (folder / "dataset.json").write_text(json.dumps(description))
    assert usual("--noisy-ratio", 0.5) == 0
    converted = raw / "Dataset031_Own"
    unlabeled, noisy = (read(converted / "supervision" / f"{role}.json") for role in ("unlabeled", "noisy"))
    assert (io.imread(converted / "labelsTr" / f"{unlabeled[0]}.png") == 2).all()
    corrupted = io.imread(converted / "labelsTr" / f"{noisy[0]}.png")
    true = io.imread(folder / "labelsTr" / f"{noisy[0]}.png")
    assert corrupted.shape == (40, 50)
    assert 0 < (corrupted != true).mean() < 0.5


def set_labels(source, labels):
    description = read(source / "dataset.json")
    (source / "dataset.json").write_text(json.dumps({**description, "labels": labels}))


def spoil(source, part, name, change):
    path = str(source / part / name)
    image = sitk.ReadImage(path)
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    if changed.GetSize() == image.GetSize():
        changed.CopyInformation(image)
    sitk.WriteImage(changed, path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda s: (s / "labelsTr" / "p3.nii.gz").unlink(), "p3.nii.gz"),
        (lambda s: (s / "imagesTr" / "p3_0001.nii.gz").unlink(), "case p3: 1 channels in 1 image files"),
        (lambda s: (s / "imagesTr" / "p3_0001.nii.gz").write_text("x"), "p3_0001.nii.gz: cannot be read"),
        (lambda s: (s / "labelsTr" / "p3.nii.gz").write_text("x"), "p3.nii.gz: cannot be read"),
        (lambda s: spoil(s, "labelsTr", "p3.nii.gz", lambda a: a + 2), "case p3: label value 3, 4; expected 0, 1, 2"),
        (lambda s: spoil(s, "labelsTr", "p3.nii.gz", lambda a: a[1:]), "case p3: image and label differ in shape"),
        (lambda s: spoil(s, "imagesTr", "p3_0001.nii.gz", lambda a: a * np.nan), "p3_0001.nii.gz: holds NaN"),
        (lambda s: (s / "dataset.json").unlink(), "no dataset has this number|no nnU-Net raw dataset|no such file"),
        (lambda s: (s / "supervision").mkdir(), "imperfect already"),
        (
            lambda s: set_labels(s, {"background": 0, "whole": [1, 2]}),
            "'regions_class_order' is None",
        ),
        (lambda s: set_labels(s, {"background": 0, "a": "1"}), "label values must be whole numbers"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(source, raw, capsys, damage, said):
    damage(source)
    assert usual() == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mlbseg: error: ")]
    assert len(errors) == 1
    assert any(part in errors[0] for part in said.split("|"))
    assert [path.name for path in raw.iterdir()] == ["Dataset030_Own"]
