"""Comparison methods trained by nnU-Net's command on a tiny dataset: continued, predicted with, exported, audited."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_support import Workspace

from nnunetv2_mlbseg.cli.main import main
from nnunetv2_mlbseg.nnunet_plugin import mlbseg_trainers

pytestmark = pytest.mark.integration

SHORT = {"warmup_epochs": 1, "epochs": 0, "iterations_per_epoch": 2, "val_iterations_per_epoch": 1, "seed": 1}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.prepared(tmp_path_factory.mktemp("comparison"), mlbseg=SHORT)


@pytest.fixture
def here(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same, known to nnU-Net in this process as well."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, workspace.env[name])
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.delenv("MLBSEG_CONFIG", raising=False)
    return workspace


def trained(workspace: Workspace, name: str) -> list[dict]:
    """Train in this process; the batch of every iteration."""
    trainer = getattr(mlbseg_trainers, name)(*workspace.arguments())
    drawn, step = [], trainer.train_step
    trainer.train_step = lambda batch: (drawn.append(batch), step(batch))[1]
    trainer.run_training()
    assert trainer.learning.method.task.network is trainer.network, "what a second network would be copied from"
    return drawn


def test_nnunets_commands_continue_a_training_and_predict_and_it_is_exported(here, tmp_path):
    workspace, name = here, "nnUNetTrainerUAMT"
    assert len(trained(workspace, name)) == 2
    done = workspace.train("--c", trainer=name, MLBSEG_CONFIG='{"epochs": 1}')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "Stage: training, 2 iterations" in done.stdout and "warm-up" not in done.stdout
    final = torch.load(workspace.fold_folder(trainer=name) / "checkpoint_final.pth", weights_only=False)
    log = final["mlbseg"]["epoch_log"]
    assert len(log["agreement"]) == 2 and np.isfinite(log["agreement"]).all() and final["mlbseg"]["ema_step"] == 4
    assert final["trainer_name"] == name and log["noisy"] == [None, None]
    ours = workspace.predict(tmp_path / "ours", trainer=name)
    model = tmp_path / "model"
    assert main(["export", str(workspace.fold_folder(trainer=name).parent), str(model)]) == 0
    exported = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert exported["trainer_name"] == "nnUNetTrainer" and set(np.unique(ours)) <= {0, 1}
    for key, value in exported["network_weights"].items():
        assert torch.equal(value, final["network_weights"][key])


def test_labels_that_are_not_read_are_blank_in_every_batch_and_noisy_ones_can_be_shown(here, monkeypatch):
    """The tiny dataset's ignore label is 2; noisy labels have a disc in every slice."""
    assert all((batch["imperfect_target"][0] == 2).all() for batch in trained(here, "nnUNetTrainerDUWM"))
    monkeypatch.setenv("MLBSEG_CONFIG", '{"noisy_labels": "face", "iterations_per_epoch": 6}')
    shown = [batch["imperfect_target"][0] for batch in trained(here, "nnUNetTrainerEntropyMin")]
    given = torch.cat([(one != 2).flatten(1).any(1) for one in shown])
    cases = torch.cat([batch["imperfect_case"] for batch in trained(here, "nnUNetTrainerEntropyMin")])
    assert given.any() and not given.all() and given.tolist() == (cases >= 0).tolist()
    drawn = trained(here, "nnUNetTrainerMixUp")
    assert all((batch["imperfect_case"] >= 0).all() for batch in drawn)


def test_the_audit_reads_such_a_training_and_weights_are_refused_in_one_line(here: Workspace, tmp_path: Path, capsys):
    trained(here, "nnUNetTrainerMixUp")
    assert main(["audit", "900", "--out", str(tmp_path / "audit"), "-tr", "nnUNetTrainerMixUp", "-c", "2d_tiny"]) == 0
    capsys.readouterr()
    model = here.fold_folder(trainer="nnUNetTrainerMixUp").parent
    assert main(["weights", str(model)]) == 2
    error = capsys.readouterr().err
    assert "no weights to judge in nnUNetTrainerMixUp (the method weighs no labels)" in error
    assert "Traceback" not in error
