"""``--exclude``: listed cases are nowhere in the result, neither drawn nor converted."""

from __future__ import annotations

from conversion_sources import make_h5, read
from la_conversion import NAMES, usual


def source(folder):
    for number, name in enumerate(NAMES):
        make_h5(folder / "h5", name, seed=number)
    (folder / "excluded.txt").write_text("SCAN03\nSCAN07  # somebody else's\n")
    return folder / "h5"


def test_excluded_cases_take_no_part(tmp_path, nnunet_folders):
    assert usual(source(tmp_path), "--noisy-ratio", 0.5, "--exclude", tmp_path / "excluded.txt") == 0
    folder = tmp_path / "nnUNet_raw" / "Dataset501_LA"
    (fold,) = read(folder / "splits_final.json")
    kept = sorted(set(NAMES) - {"SCAN03", "SCAN07"})
    assert sorted(fold["train"] + fold["val"]) == kept
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == [f"{name}.nii.gz" for name in kept]
    assert read(folder / "supervision" / "provenance.json")["options"]["exclude"] == "excluded.txt"


def test_a_case_that_is_not_there_cannot_be_excluded(tmp_path, nnunet_folders, capsys):
    folder = source(tmp_path)
    (tmp_path / "excluded.txt").write_text("SCAN99\n")
    assert usual(folder, "--exclude", tmp_path / "excluded.txt") == 2
    assert capsys.readouterr().err == (
        f"mlbseg: error: --exclude {tmp_path / 'excluded.txt'}: no such case in the dataset: SCAN99\n"
    )


def test_names_and_patterns_do_as_well_as_a_file(tmp_path, nnunet_folders):
    assert usual(source(tmp_path), "--exclude", "SCAN03", "SCAN0[78]", "--exclude", "*06") == 0
    folder = tmp_path / "nnUNet_raw" / "Dataset501_LA"
    (fold,) = read(folder / "splits_final.json")
    left_out = {"SCAN03", "SCAN07", "SCAN08", "SCAN06"}
    assert sorted(fold["train"] + fold["val"]) == sorted(set(NAMES) - left_out)
    recorded = read(folder / "supervision" / "provenance.json")["options"]["exclude"]
    assert recorded == ["SCAN03", "SCAN0[78]", "*06"]


def test_an_excluded_case_is_left_out_whatever_another_list_says(tmp_path, nnunet_folders):
    (tmp_path / "clean.txt").write_text("SCAN01\nSCAN02\nSCAN03\n")
    options = ("--clean", tmp_path / "clean.txt", "--exclude", tmp_path / "excluded.txt")
    assert usual(source(tmp_path), *options) == 0
    clean = read(tmp_path / "nnUNet_raw" / "Dataset501_LA" / "supervision" / "clean.json")
    assert clean == ["SCAN01", "SCAN02"]
