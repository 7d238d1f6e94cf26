"""Checkpoints on disk: whole or not at all, and only those of this trainer."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg import checkpoint
from noise_synthesis.errors import InputError

CPU = torch.device("cpu")
GOOD = {"student_weights": {}, "teacher_weights": {}, "mlbseg": {}, "value": 1}


def test_what_is_written_is_read(tmp_path):
    checkpoint.write(GOOD, tmp_path / "a.pth")
    assert checkpoint.read(tmp_path / "a.pth", CPU) == GOOD
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_a_failure_while_writing_keeps_the_previous_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    checkpoint.write(GOOD, path)

    def fail(content, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space"):
        checkpoint.write({**GOOD, "value": 2}, path)
    monkeypatch.undo()
    assert checkpoint.read(path, CPU)["value"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]


def test_missing_damaged_and_foreign_files_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        checkpoint.read(tmp_path / "none.pth", CPU)
    checkpoint.write(GOOD, tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        checkpoint.read(tmp_path / "cut.pth", CPU)
    checkpoint.write({"trainer_name": "nnUNetTrainer"}, tmp_path / "stock.pth")
    with pytest.raises(InputError, match="written by nnUNetTrainer, without student_weights"):
        checkpoint.read(tmp_path / "stock.pth", CPU)
