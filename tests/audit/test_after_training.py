"""A training that is to audit its labels in the end refuses, before it starts, what would make the audit fail."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nnunetv2_mlbseg.audit.after_training import check_before_training
from noise_synthesis.safe_io.errors import InputError

FOLD = SimpleNamespace(plans=SimpleNamespace(dataset_name="Dataset900_Tiny"))
"""What the checks before any file is read look at."""


def check(processes: int = 1, writes_checkpoints: bool = True):
    check_before_training(FOLD, processes=processes, writes_checkpoints=writes_checkpoints)


def test_several_processes_are_told_to_audit_afterwards():
    with pytest.raises(NotImplementedError, match="2 processes; set it to false and run mlbseg audit afterwards"):
        check(processes=2)


def test_without_checkpoints_there_is_nothing_to_read():
    with pytest.raises(InputError, match="no checkpoint will be written"):
        check(writes_checkpoints=False)


def test_raw_labels_must_be_there(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    with pytest.raises(InputError, match="nnUNet_raw is not set, expected the folder that holds Dataset900_Tiny"):
        check()
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    with pytest.raises(InputError, match="Dataset900_Tiny does not exist, expected the raw dataset"):
        check()
