"""A checkpoint that a former version wrote is read, continued and predicted with."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from training_support import SUPERVISION, Workspace

from nnunetv2_mlbseg.cases.datasets import open_dataset
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg

pytestmark = pytest.mark.integration

FORMER = REPOSITORY / "tests" / "data" / "checkpoint_0.1.pth"


def _stored(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The dataset that it was trained on, and generated labels under the source that it knows."""
    made = Workspace.prepared(tmp_path_factory.mktemp("former"))
    fold = made.fold_folder()
    fold.mkdir(parents=True)
    shutil.copy(FORMER, fold / "checkpoint_latest.pth")
    labels, cases = LabelStore(fold / "generated_labels"), SUPERVISION.unlabeled
    labels.start(_stored(FORMER)["mlbseg"]["generated_by"])
    dataset = open_dataset(str(made.preprocessed / "nnUNetPlans_2d"), cases)
    for case in cases:
        labels.save(case, np.zeros_like(dataset.load_case(case)[1][:]), {1: np.empty((0, 4))}, (32, 32))
        labels.mark_complete(case)
    return made


def _equal(found: dict, expected: dict) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_everything_in_it_arrives(workspace, monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, workspace.env[name])
    stored, trainer = _stored(FORMER), nnUNetTrainerMLBSeg(*workspace.arguments())
    trainer.load_checkpoint(str(workspace.fold_folder() / "checkpoint_latest.pth"))
    learning, state = trainer.learning, stored["mlbseg"]
    assert trainer.current_epoch == 3 and trainer.stage.name == state["stage"] == "bootstrapping"
    assert _equal(trainer.network.state_dict(), stored["student_weights"])
    assert _equal(learning.teacher.network.state_dict(), stored["teacher_weights"])
    assert learning.teacher.step == state["ema_step"] == 10 and trainer.run.partial.iterations == 1
    for record in ("disputes", "shares"):  # its tables knew no groups of classes, of which there is one
        found, former = learning.method.state()[record], state[record]
        assert _equal({name: found[name].view_as(table) for name, table in former.items()}, former)
        assert not any(table.any() for name, table in found.items() if name not in former), "nor sources of labels"
    assert _equal(learning.passes.generators.states(), state["generators"])
    momentum = [values["momentum_buffer"] for values in trainer.optimizer.state_dict()["state"].values()]
    former = [values["momentum_buffer"] for values in stored["optimizer_state"]["state"].values()]
    assert len(momentum) == len(former) > 5 and all(map(torch.equal, momentum, former))
    assert trainer.run.log.state() == {**state["epoch_log"], "strong": []}, "a term that it did not have"
    assert trainer.run.labels_from == state["generated_by"]
    assert state["config"].keys() <= trainer.settings.as_dict().keys(), "a key is gone"


def test_it_continues_in_its_epoch_to_the_end_and_predicts(workspace, tmp_path):
    done = workspace.train("--c")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Continuing in epoch 3, stage bootstrapping, EMA step 10" in done.stdout
    assert "Stage: bootstrapping, 3 iterations, continuing after iteration 1, weight of" in done.stdout
    final = _stored(workspace.fold_folder() / "checkpoint_final.pth")
    assert final["current_epoch"] == 4 and final["mlbseg"]["ema_step"] == 12
    assert final["mlbseg"].keys() == _stored(FORMER)["mlbseg"].keys()
    assert not _equal(final["student_weights"], _stored(FORMER)["student_weights"])
    label = workspace.predict(tmp_path / "out")
    assert label.shape == (5, 32, 32) and set(np.unique(label)) <= {0, 1}
