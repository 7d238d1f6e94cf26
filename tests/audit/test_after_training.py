"""A training that is to audit its labels in the end refuses, before it starts, what would make the audit fail."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nnunetv2_mlbseg.audit.after_training import check_before_training
from noise_synthesis.safe_io.errors import InputError


def trainer(processes: int = 1, disable_checkpointing: bool = False):
    """What the checks before any file is read look at."""
    return SimpleNamespace(
        processes=SimpleNamespace(count=processes),
        disable_checkpointing=disable_checkpointing,
        plans_manager=SimpleNamespace(dataset_name="Dataset900_Tiny"),
    )


def test_several_processes_are_told_to_audit_afterwards():
    with pytest.raises(NotImplementedError, match="2 processes; set it to false and run mlbseg audit afterwards"):
        check_before_training(trainer(processes=2))


def test_without_checkpoints_there_is_nothing_to_read():
    with pytest.raises(InputError, match="no checkpoint will be written"):
        check_before_training(trainer(disable_checkpointing=True))


def test_raw_labels_must_be_there(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    with pytest.raises(InputError, match="nnUNet_raw is not set, expected the folder that holds Dataset900_Tiny"):
        check_before_training(trainer())
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    with pytest.raises(InputError, match="Dataset900_Tiny does not exist, expected the raw dataset"):
        check_before_training(trainer())
