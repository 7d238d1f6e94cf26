"""Labels that a method corrects between epochs: a whole training in this process, killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from training_support import SUPERVISION, Workspace

from nnunetv2_mlbseg.cases import label_correction
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.methods import learned_classes
from nnunetv2_mlbseg.trainers.comparisons_noisy import nnUNetTrainerADELE

pytestmark = pytest.mark.integration

SETTINGS = {
    **{"warmup_epochs": 1, "epochs": 4, "iterations_per_epoch": 2, "val_iterations_per_epoch": 1, "seed": 1},
    **{"cpu_bfloat16": False, "save_every": 5, "correct_every": 2, "certainty": 0.5, "background_certainty": 0.5},
}


class Killed(Exception):
    """In the place of a power cut."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.prepared(tmp_path_factory.mktemp("corrected"))


@pytest.fixture
def workspace(template: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Results of their own; every class counts as learned when it is looked at."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.setenv(name, template.env[name])
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("MLBSEG_CONFIG", json.dumps(SETTINGS))
    monkeypatch.setattr(learned_classes, "has_slowed", lambda values, change: True)
    return template


def begun(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: str) -> nnUNetTrainerADELE:
    monkeypatch.setenv("nnUNet_results", str(tmp_path / results))
    return nnUNetTrainerADELE(*workspace.arguments())


def final_weights(trainer: nnUNetTrainerADELE) -> dict[str, torch.Tensor]:
    found = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", map_location="cpu", weights_only=False)
    return found["network_weights"]


def test_corrected_labels_train_and_a_killed_training_finds_them_again(workspace, tmp_path, monkeypatch):
    """Killed within a correction, and after an epoch with corrected labels; both go on to the same weights."""
    undisturbed = begun(workspace, tmp_path, monkeypatch, "undisturbed")
    undisturbed.run_training()
    log = "".join(path.read_text() for path in Path(undisturbed.output_folder).glob("training_log*.txt"))
    assert log.count("Correcting labels of") == 2 and "(classes 0, 1)" in log
    store = LabelStore(Path(undisturbed.output_folder) / "corrected_labels")
    assert store.complete() == set(SUPERVISION.noisy)
    changed = [np.asarray(store.load(case)[0][:]) for case in SUPERVISION.noisy]
    assert all(set(np.unique(label)) <= {-1, 0, 1} for label in changed)

    killed = begun(workspace, tmp_path, monkeypatch, "killed")
    with monkeypatch.context() as cut:
        cut.setattr(label_correction, "class_locations", _raise)
        with pytest.raises(Killed):
            killed.run_training()
    again = begun(workspace, tmp_path, monkeypatch, "killed")
    again.load_checkpoint(str(Path(again.output_folder) / "checkpoint_latest.pth"))
    assert again.current_epoch == 2
    with monkeypatch.context() as cut:
        cut.setattr(type(again), "on_epoch_start", _killed_in(4, type(again).on_epoch_start))
        with pytest.raises(Killed):
            again.run_training()
    last = begun(workspace, tmp_path, monkeypatch, "killed")
    last.load_checkpoint(str(Path(last.output_folder) / "checkpoint_latest.pth"))
    assert last.current_epoch == 4
    last.run_training()
    torch.testing.assert_close(final_weights(last), final_weights(undisturbed), rtol=0, atol=0)


def _raise(*args, **kwargs):
    raise Killed


def _killed_in(epoch, on_epoch_start):
    def start(trainer):
        on_epoch_start(trainer)
        if trainer.current_epoch == epoch:
            raise Killed

    return start
