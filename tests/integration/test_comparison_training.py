"""Comparison methods trained by nnU-Net's command on a tiny dataset: continued, predicted with, exported, audited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_support import SUPERVISION, Workspace

from nnunetv2_mlbseg.cases import label_correction
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.cli.main import main
from nnunetv2_mlbseg.methods import learned_classes
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


@pytest.mark.parametrize("name", ["nnUNetTrainerSASSNet", "nnUNetTrainerMCNet", "nnUNetTrainerSDCL"])
def test_companions_are_said_in_the_log_and_stored_beside_a_stock_network(name, here: Workspace, monkeypatch):
    """A head and a critic; a second decoder; a second network, and a stage of clean images in clean ones."""
    monkeypatch.setenv("MLBSEG_CONFIG", '{"epochs": 1}')
    trainer = getattr(mlbseg_trainers, name)(*here.arguments())
    trainer.run_training()
    folder = here.fold_folder(trainer=name)
    (log,) = folder.glob("training_log_*.txt")
    assert "Beside the network train: " in log.read_text()
    found = torch.load(folder / "checkpoint_final.pth", weights_only=False)
    assert found["mlbseg"]["heads"].keys() == trainer._heads.state_dict().keys()
    assert found["network_weights"].keys() == trainer.network.state_dict().keys()
    again = getattr(mlbseg_trainers, name)(*here.arguments())
    again.load_checkpoint(str(folder / "checkpoint_final.pth"))
    for ours, theirs in zip(again._heads.parameters(), trainer._heads.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["nnUNetTrainerContrastive", "nnUNetTrainerSelfPaced"])
def test_pretraining_shows_all_images_and_where_they_are_from(here, monkeypatch, name):
    monkeypatch.setenv("MLBSEG_CONFIG", '{"epochs": 1, "iterations_per_epoch": 8}')
    drawn = trained(here, name)
    first, second = drawn[:8], drawn[8:]
    assert len(second) == 8 and not any("imperfect_data" in batch for batch in first)
    cases = {case for batch in first for case in batch["keys"]}
    assert cases & {*SUPERVISION.noisy} and cases & {*SUPERVISION.clean} and cases <= {*all_cases()}
    positions = torch.cat([batch["position"] for batch in first])
    assert positions.min() >= 0.1 and positions.max() <= 0.9 and positions.unique().numel() > 1, "slices of 5"
    assert len({int(scan) for batch in first for scan in batch["scan"]}) == len(cases)
    final = torch.load(here.fold_folder(trainer=name) / "checkpoint_final.pth", weights_only=False)
    log = final["mlbseg"]["epoch_log"]
    assert log["supervised"][0] is None and np.isfinite([log["supervised"][1], log["contrast"][0]]).all()


def all_cases() -> list[str]:
    return [*SUPERVISION.clean, *SUPERVISION.noisy, *SUPERVISION.unlabeled]


def test_plain_training_takes_a_robust_loss(here, monkeypatch):
    monkeypatch.setenv("MLBSEG_CONFIG", '{"noisy_loss": "gce"}')
    trained(here, "nnUNetTrainerMLBSegAllLabels")
    folder = here.fold_folder(trainer="nnUNetTrainerMLBSegAllLabels")
    loss = torch.load(folder / "checkpoint_final.pth", weights_only=False)["mlbseg"]["epoch_log"]["plain"][0]
    assert 0 < loss < 1 / 0.7 + 1


CORRECTED = {
    **{"warmup_epochs": 1, "epochs": 4, "save_every": 5, "correct_every": 2, "cpu_bfloat16": False},
    **{"certainty": 0.5, "background_certainty": 0.5},
}


class Killed(Exception):
    """In the place of a power cut."""


def begun(workspace: Workspace, continued: bool = False) -> Any:
    trainer = mlbseg_trainers.nnUNetTrainerADELE(*workspace.arguments())
    if continued:
        trainer.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    return trainer


def test_corrected_labels_train_and_a_killed_training_finds_them_again(here, tmp_path, monkeypatch):
    """Killed within a correction, and after an epoch with corrected labels; both go on to the same weights."""
    monkeypatch.setenv("MLBSEG_CONFIG", json.dumps(CORRECTED))
    monkeypatch.setattr(learned_classes, "has_slowed", lambda values, change: True)
    undisturbed = begun(here)
    undisturbed.run_training()
    folder = Path(undisturbed.output_folder)
    log = "".join(path.read_text() for path in folder.glob("training_log*.txt"))
    assert log.count("Correcting labels of") == 2 and "(classes 0, 1)" in log
    assert LabelStore(folder / "corrected_labels").complete() == set(SUPERVISION.noisy)
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    with monkeypatch.context() as cut, pytest.raises(Killed):
        cut.setattr(label_correction, "class_locations", _killed)
        begun(here).run_training()
    again = begun(here, continued=True)
    assert again.current_epoch == 2
    with monkeypatch.context() as cut, pytest.raises(Killed):
        start = again.on_epoch_start
        cut.setattr(again, "on_epoch_start", lambda: _killed() if start() or again.current_epoch == 4 else None)
        again.run_training()
    last = begun(here, continued=True)
    assert last.current_epoch == 4
    last.run_training()
    weights = [
        torch.load(Path(one.output_folder) / "checkpoint_final.pth", weights_only=False)["network_weights"]
        for one in (last, undisturbed)
    ]
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def _killed(*args: Any) -> None:
    raise Killed
