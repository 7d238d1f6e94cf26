"""What validates or tests must not have trained: the guard of a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunetv2_mlbseg.cases.leakage_guard import HeldOut
from nnunetv2_mlbseg.cases.roles import FoldRoles
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import write_json

ROLES = FoldRoles(("P1_a", "P2_a"), ("P3_a",), ("P4_a",), ("P5_a", "P6_a"))


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    for name in ("raw", "preprocessed"):
        (tmp_path / name / "Dataset001_X").mkdir(parents=True)
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    for case in (*ROLES.training, "T1_a"):
        folder = "imagesTs" if case == "T1_a" else "imagesTr"
        (tmp_path / "raw" / "Dataset001_X" / folder).mkdir(exist_ok=True)
        (tmp_path / "raw" / "Dataset001_X" / folder / f"{case}_0000.nii.gz").write_bytes(case.encode())
    return tmp_path


def _held_out(roles: FoldRoles = ROLES, patient_regex: str | None = None, allowed: tuple[str, ...] = ()) -> HeldOut:
    return HeldOut.of_fold(
        "Dataset001_X", ".nii.gz", roles.training, roles, patient_regex=patient_regex, allowed=allowed
    )


def test_the_trainers_guard_accepts_a_clean_separation(folders):
    guard = _held_out(patient_regex=r"^(\w\d)_")
    guard.check_names()
    assert guard.check_images({case: case for case in (*ROLES.training, *ROLES.validation)}) == []
    assert set(guard.tests) == {"T1_a"}


def test_the_trainers_guard_finds_each_kind_and_lets_the_named_ones_pass(folders):
    raw = folders / "raw" / "Dataset001_X"
    images = {case: case for case in (*ROLES.training, *ROLES.validation)}
    with pytest.raises(InputError, match="validation case P5_a has the image of training case P3_a"):
        _held_out().check_images({**images, "P5_a": "P3_a"})
    (raw / "imagesTs" / "T1_a_0000.nii.gz").write_bytes(b"P4_a")
    with pytest.raises(InputError, match="test case T1_a has the image of training case P4_a"):
        _held_out().check_images(images)
    assert len(_held_out(allowed=("T1_a",)).check_images(images)) == 1
    (raw / "imagesTs" / "P2_a_0000.nii.gz").write_bytes(b"other")
    with pytest.raises(InputError, match="test case P2_a also trains"):
        _held_out().check_names()
    sixth = FoldRoles(ROLES.clean, ROLES.noisy, ROLES.unlabeled, ("P1_b",))
    with pytest.raises(InputError, match="validation case P1_b is of patient P1"):
        _held_out(sixth, patient_regex=r"^(P\d)_", allowed=("P2_a",)).check_names()


def test_the_pattern_of_split_is_used_where_none_is_configured(folders):
    sixth = FoldRoles(ROLES.clean, ROLES.noisy, ROLES.unlabeled, ("P1_b",))
    _held_out(sixth).check_names()
    copies = folders / "preprocessed" / "Dataset001_X" / "supervision"
    copies.mkdir()
    write_json(copies / "provenance.json", {"options": {"patient_regex": r"^(P\d)_"}})
    with pytest.raises(InputError, match="of patient P1"):
        _held_out(sixth).check_names()


def test_in_fold_all_the_clean_cases_may_validate(folders):
    everything = FoldRoles(ROLES.clean, ROLES.noisy, ROLES.unlabeled, ROLES.clean)
    guard = _held_out(everything, patient_regex=r"^(P\d)_")
    guard.check_names()
    assert guard.validation == ()
