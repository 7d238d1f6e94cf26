"""Checkpoints on disk: whole or not at all, and only those of this trainer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn

from nnunetv2_mlbseg.progress import checkpoint
from noise_synthesis.safe_io.errors import InputError

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


@dataclass
class _Roles:
    clean: tuple[str, ...] = ("c0",)


def _trainer() -> MagicMock:
    """Nets and state that a checkpoint holds; nothing of it trains."""
    network = nn.Linear(1, 1)
    trainer = MagicMock(network=network, teacher=nn.Linear(1, 1), grad_scaler=None, roles=_Roles(), partial=None)
    trainer.optimizer = torch.optim.SGD(network.parameters(), 0.1)
    trainer.epoch_log.state.return_value = {}
    return trainer


@pytest.mark.parametrize(
    ("stored", "logged", "epochs", "expected"),
    [
        (0.5, [0.4, 0.5, 0.7], 3, 0.7),  # written before nnU-Net compared the last epoch
        (None, [0.3], 1, 0.3),
        (0.5, [0.4, math.nan], 2, 0.5),
        (None, [math.nan], 1, None),
        (None, [], 0, None),
        (0.5, [0.5, 0.4, 0.9], 2, 0.5),  # the last value is of an epoch that was not complete
    ],
)
def test_the_best_of_the_logged_epochs_is_what_the_next_one_must_beat(stored, logged, epochs, expected):
    trainer = _trainer()
    trainer._best_ema, trainer.current_epoch = stored, epochs - 1
    trainer.logger.get_checkpoint.return_value = {"ema_fg_dice": logged}
    resumed = _trainer()
    checkpoint.restore(resumed, checkpoint.collect(trainer))
    assert resumed._best_ema == expected
