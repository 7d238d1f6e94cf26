"""Where ``mlbseg split`` refuses, the options that its line names are taken from the line and work."""

from __future__ import annotations

import itertools
import re
import shlex

import pytest
from conversion_sources import make_nnunet, read

from nnunetv2_mlbseg.cli.main import main

BY_PATIENT = ("--patient-regex", "^(P[0-9]+)_")


def split(*arguments: object) -> int:
    return main(["split", "30", "-d", "31", *map(str, arguments), "-np", "1"])


def dataset(tmp_path, names):
    make_nnunet(tmp_path / "nnUNet_raw" / "Dataset030_Own", names)
    return tmp_path / "nnUNet_raw" / "Dataset031_Own"


def advice(capsys, *arguments: object) -> list[list[str]]:
    """Every way out that the refusal names, as options."""
    capsys.readouterr()
    assert split(*arguments) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return [shlex.split(way) for way in re.search(r"\. Add (.*)\n", line)[1].split(", or ")]


def apart(folder):
    """No fold has a patient on both sides, and each has clean and imperfect cases to train on."""
    roles = {role: set(read(folder / "supervision" / f"{role}.json")) for role in ("clean", "noisy", "unlabeled")}
    for fold in read(folder / "splits_final.json"):
        train, val = set(fold["train"]), set(fold["val"])
        assert not {case.split("_")[0] for case in train} & {case.split("_")[0] for case in val}
        assert val and train & roles["clean"] and train & (roles["noisy"] | roles["unlabeled"])


@pytest.mark.parametrize(
    ("patients", "arguments", "ways"),
    [
        (5, ("--clean", "P[012]_a", "P2_b", "--noisy", "rest"), ["--exclude"]),
        (5, ("--clean", "P[012]_*", "P3_a", "--noisy", "rest"), ["--always-train", "--exclude"]),
        (5, ("--clean", "*_a", "--noisy", "rest"), ["--always-train"]),
        (3, ("--clean", "*_a", "--noisy", "rest"), ["--always-train"]),
        (4, ("--clean", "P[012]_a", "--noisy", "rest"), ["--exclude"]),
        (4, ("--clean", "*_a", "--noisy", "rest", "--folds", 4), ["--always-train"]),
        (6, ("--clean", "P[0123]_*", "P4_a", "--noisy", "rest", "--folds", 5), ["--always-train", "--exclude"]),
        (4, ("--clean", "P[01]_*", "P2_a", "--noisy", "rest", "--always-train", "P0_a"), ["--exclude"]),
        (4, ("--clean", "P[01]_*", "--noisy", "rest", "--evaluation", "P2_a"), ["--exclude"]),
        (3, ("--clean", "P0_a", "--noisy", "P0_b", "P1_b", "--evaluation", "P1_a", "P2_*"), ["--exclude", "--exclude"]),
    ],
)
def test_each_way_out_of_shared_patients_works(nnunet_folders, tmp_path, capsys, patients, arguments, ways):
    folder = dataset(tmp_path, [f"P{patient}_{scan}" for patient in range(patients) for scan in "ab"])
    named = advice(capsys, *arguments, *BY_PATIENT)
    assert [way[0] for way in named] == ways
    for way in named:
        assert split(*arguments, *BY_PATIENT, *way, "--force") == 0, way
        apart(folder)


def test_every_layout_of_four_patients_is_divided_or_the_advice_works(nnunet_folders, tmp_path, capsys):
    """Each patient's two scans are clean, noisy, or one of each: 3 x 3 x 3 x 3 layouts."""
    folder = dataset(tmp_path, [f"P{patient}_{scan}" for patient in range(4) for scan in "ab"])
    for layout in itertools.combinations_with_replacement(["cc", "cn", "nn"], 4):
        cases = {role: [] for role in "cn"}
        for patient, roles in enumerate(layout):
            for scan, role in zip("ab", roles, strict=True):
                cases[role].append(f"P{patient}_{scan}")
        if layout.count("nn") > 2 or not cases["n"]:  # fewer than two patients have a clean scan; nothing is noisy
            continue
        arguments = ("--clean", *cases["c"], "--noisy", *cases["n"], *BY_PATIENT, "--force")
        if split(*arguments) == 0:
            apart(folder)
            continue
        for way in advice(capsys, *arguments):
            assert split(*arguments, *way) == 0, (layout, way)
            apart(folder)


def test_two_patients_with_clean_and_noisy_scans_each(nnunet_folders, tmp_path, capsys):
    folder = dataset(tmp_path, ["P0_a", "P0_b", "P1_a", "P1_b"])
    assert split("--clean", "*_a", "--noisy", "rest", *BY_PATIENT) == 2
    line = capsys.readouterr().err
    match = re.search(r"name (\S+) by --evaluation instead of --clean, and add (--exclude \S+)\n", line)
    validates, excluded = match[1], match[2].split()
    clean = sorted({"P0_a", "P1_a"} - {validates})
    assert split("--clean", *clean, "--noisy", "rest", "--evaluation", validates, *excluded, *BY_PATIENT) == 0
    apart(folder)


def test_one_patient_alone_is_told_that_another_is_needed(nnunet_folders, tmp_path, capsys):
    dataset(tmp_path, ["P0_a", "P0_b", "P0_c"])
    assert split("--clean", "P0_[ab]", "--noisy", "rest", *BY_PATIENT) == 2
    assert "a second patient with clean cases, or with noisy ones, is needed" in capsys.readouterr().err


def test_a_number_of_folds_that_nobody_typed_is_not_spoken_of(nnunet_folders, tmp_path, capsys):
    folder = dataset(tmp_path, ["P0_a", "P1_a", "P2_a"])
    assert split("--clean", "P0_a", "--noisy", "rest") == 2
    line = capsys.readouterr().err
    assert "--folds" not in line and "name more cases by --clean, or other labelled cases" in line
    assert split("--clean", "P0_a", "P1_a", "--noisy", "rest") == 0
    assert split("--clean", "P0_a", "--noisy", "rest", "--evaluation", "P2_a", "--force") == 0
    assert split("--clean", "P0_a", "P1_a", "--noisy", "rest", "--always-train", "P1_a", "--force") == 2
    assert "fewer by --always-train" in capsys.readouterr().err
    assert split("--clean", "P0_a", "P1_a", "--noisy", "rest", "--folds", 3, "--force") == 2
    folds = re.search(r"2 to that many folds: (--folds \d+)\n", capsys.readouterr().err)[1].split()
    assert split("--clean", "P0_a", "P1_a", "--noisy", "rest", "--folds", 3, *folds, "--force") == 0
    assert len(read(folder / "splits_final.json")) == 2


def test_excluded_cases_are_nowhere_in_the_new_dataset(nnunet_folders, tmp_path):
    names = [f"P{patient}_{scan}" for patient in range(4) for scan in "ab"]
    folder = dataset(tmp_path, names)
    further = make_nnunet(tmp_path / "further", ["new1", "new2"]) / "imagesTr"
    (tmp_path / "not.txt").write_text("P3_a\n")
    excluded = ("--exclude", tmp_path / "not.txt", "P2_*", "--exclude", "new1")
    assert split("--clean", "P[012]_*", "--noisy", "rest", "--unlabeled-images", further, *excluded) == 0
    kept = ["P0_a", "P0_b", "P1_a", "P1_b", "P3_b", "new2"]
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == [f"{name}.nii.gz" for name in kept]
    assert read(folder / "dataset.json")["numTraining"] == 6
    assert {case for fold in read(folder / "splits_final.json") for case in fold["train"]} == set(kept)
    assert read(folder / "supervision" / "provenance.json")["added_unlabeled"] == ["new2"]


def test_a_name_with_brackets_is_that_case_and_no_pattern(nnunet_folders, tmp_path):
    folder = dataset(tmp_path, ["scan[1]", "scan[2]", "scan1", "x"])
    assert split("--clean", "scan[1]", "scan[2]", "--noisy", "rest") == 0
    assert read(folder / "supervision" / "clean.json") == ["scan[1]", "scan[2]"]
