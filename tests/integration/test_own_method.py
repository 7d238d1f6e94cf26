"""Adding a method is one file and a name: the example of the documentation, as it stands there, trains and predicts."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from conftest import REPOSITORY
from training_support import Workspace

from nnunetv2_mlbseg.cli.main import main

pytestmark = pytest.mark.integration

PAGE = REPOSITORY / "docs" / "how-to" / "add-a-method.md"
SHORT = {
    "warmup_epochs": 1,
    "epochs": 2,
    "iterations_per_epoch": 3,
    "val_iterations_per_epoch": 1,
    "seed": 1,
    "cpu_bfloat16": False,
}
WITH_HEAD = """
import torch
from nnunetv2_mlbseg.training.method import Method, Terms
from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMethod


class Origin(Method):
    quantities = {"supervised": "clean batch", "origin": "head"}

    @classmethod
    def modules(cls, settings, task):
        return torch.nn.ModuleDict({"origin": torch.nn.Linear(4, 1)})

    def terms(self, batch, moment):
        outputs, features = self.passes.features(batch.imperfect.images)
        supervised = self.passes.supervised(self.passes.student(batch.clean.images), batch.clean.target)
        origin = self.heads["origin"](features.last.mean((2, 3))).square().mean()
        return Terms({"supervised": supervised, "origin": origin})


class nnUNetTrainerOrigin(nnUNetTrainerMethod):
    method = Origin
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace.prepared(tmp_path_factory.mktemp("own"), mlbseg=SHORT)


def _of_page() -> str:
    """The first two blocks of the page: the method and its trainer, which share a file."""
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[:2])


def _trained(workspace: Workspace, folder: Path, code: str, trainer: str) -> tuple[str, dict]:
    """Train by nnU-Net's command; the log, and the last checkpoint."""
    folder.mkdir(exist_ok=True)
    (folder / f"{trainer}_file.py").write_text(code)
    done = workspace.train(trainer=trainer, nnUNet_extTrainer=str(folder))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout, torch.load(
        workspace.fold_folder(trainer=trainer) / "checkpoint_final.pth", map_location="cpu", weights_only=False
    )


def _predicted_by_stock_nnunet(workspace: Workspace, trainer: str, folder: Path) -> np.ndarray:
    """Exported, and predicted in a process that finds no trainer but nnU-Net's own."""
    model, images, out = folder / "model", folder / "in", folder / "out"
    assert main(["export", str(workspace.fold_folder(trainer=trainer).parent), str(model)]) == 0
    images.mkdir()
    (images / "v0_0000.nii.gz").symlink_to(workspace.raw / "imagesTr" / "v0_0000.nii.gz")
    where = ("-i", images, "-o", out, "-m", model, "-f", 0, "-device", "cpu", "-npp", 1, "-nps", 1)
    done = workspace.command("nnUNetv2_predict_from_modelfolder", *where, nnUNet_extTrainer="")
    assert done.returncode == 0, done.stderr[-3000:]
    return sitk.GetArrayFromImage(sitk.ReadImage(str(out / "v0.nii.gz")))


def test_the_example_of_the_documentation_trains_and_predicts(workspace, tmp_path):
    log, final = _trained(workspace, tmp_path / "own", _of_page(), "nnUNetTrainerEntropy")
    assert "Stage: warm-up, 3 iterations" in log and log.count("Stage: training, 3 iterations") == 2
    assert re.search(r"loss terms: supervised -?\d.*, entropy \d", log) and "Mean Validation Dice" in log
    values = final["mlbseg"]["epoch_log"]
    for term in ("supervised", "entropy"):
        assert values[term][0] is None and np.isfinite(values[term][1:]).all()
    assert values["entropy"][2] > 0 and values["skipped"] == [0, 0, 0]
    assert not {"bootstrap", "weight_imperfect"} & values.keys()
    assert "heads" not in final["mlbseg"] and final["mlbseg"]["ema_step"] == 9
    found = _predicted_by_stock_nnunet(workspace, "nnUNetTrainerEntropy", tmp_path / "stock")
    settings = {"nnUNet_extTrainer": str(tmp_path / "own")}
    assert np.array_equal(found, workspace.predict(tmp_path / "ours", trainer="nnUNetTrainerEntropy", **settings))


def test_a_head_is_stored_beside_the_network_that_stock_nnunet_predicts_with(workspace, tmp_path):
    log, final = _trained(workspace, tmp_path / "own", WITH_HEAD, "nnUNetTrainerOrigin")
    assert re.search(r"loss terms: supervised -?\d.*, origin \d", log)
    assert final["mlbseg"]["heads"].keys() == {"origin.weight", "origin.bias"}
    assert not [name for name in final["network_weights"] if "origin" in name]
    momentum = [tuple(state["momentum_buffer"].shape) for state in final["optimizer_state"]["state"].values()]
    assert momentum[-2:] == [(1, 4), (1,)]
    origin = final["mlbseg"]["epoch_log"]["origin"]
    assert origin[0] is None and origin[2] < origin[1], "the optimiser moves the head"
    found = _predicted_by_stock_nnunet(workspace, "nnUNetTrainerOrigin", tmp_path / "stock")
    assert found.shape == (5, 32, 32)
