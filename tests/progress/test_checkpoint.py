"""Checkpoints on disk: whole or not at all, and only those of this trainer."""

from __future__ import annotations

import pytest
import torch
from run_state_example import STATE
from torch import nn

from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.progress.run_state import RunState
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


ROLES = {"clean": ("c0",), "noisy": ("n0", "n1"), "unlabeled": (), "validation": ("v0",)}


def test_going_on_with_other_cases_is_refused():
    checkpoint.check_roles(ROLES, {role: list(cases) for role, cases in ROLES.items()}, "Dataset900_Tiny, fold 0")
    then = {**ROLES, "clean": ("c0", "n1"), "noisy": ("n0",)}
    with pytest.raises(InputError, match="Dataset900_Tiny, fold 0: the clean, noisy cases are not those the checkpo"):
        checkpoint.check_roles(ROLES, then, "Dataset900_Tiny, fold 0")


def test_the_optimiser_keeps_what_is_configured_now_and_takes_rate_and_momentum_buffers():
    optimizers = []
    for momentum in (0.9, 0.5):
        weight = nn.Parameter(torch.ones(1))
        optimizers.append(torch.optim.SGD([weight], 0.1 * momentum, momentum=momentum, weight_decay=momentum))
    then, now = optimizers
    then.param_groups[0]["params"][0].grad = torch.ones(1)
    then.step()
    checkpoint.restore_optimizer_(now, then.state_dict())
    group = now.param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (0.5, 0.5) and group["lr"] == 0.1 * 0.9
    assert torch.equal(*(next(iter(one.state.values()))["momentum_buffer"] for one in optimizers))


def test_the_network_for_inference_is_where_nnunet_looks_for_it():
    networks, state = {name: nn.Linear(1, 1) for name in ("student", "teacher")}, RunState(**STATE)
    for chosen, network in networks.items():
        found = checkpoint.packed({"current_epoch": 3}, networks, chosen, state)
        assert found["network_weights"] == network.state_dict() and found["current_epoch"] == 3
        assert {name: found[f"{name}_weights"] for name in networks} == {k: n.state_dict() for k, n in networks.items()}
        assert found["mlbseg"] == state.packed()
