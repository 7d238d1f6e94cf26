"""Regions by nnU-Net's own commands and ours, through all stages, on a tiny dataset of nested discs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from conversion_sources import array_of
from region_dataset import prepared_regions
from training_support import Workspace

from nnunetv2_mlbseg.cli.main import main

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace after an undisturbed training with an audit at its end, and its log."""
    workspace = prepared_regions(tmp_path_factory.mktemp("regions"))
    done = workspace.train(MLBSEG_CONFIG='{"audit": true}')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return workspace, done.stdout


@pytest.fixture
def command(trained, monkeypatch):
    """``mlbseg`` in this process, with nnU-Net's folders."""
    for name, value in trained[0].env.items():
        if name.startswith("nnUNet_"):
            monkeypatch.setenv(name, value)
    return lambda *args: main([*map(str, args)])


def _final(workspace: Workspace) -> dict:
    return torch.load(workspace.fold_folder() / "checkpoint_final.pth", map_location="cpu", weights_only=False)


def test_the_dataset_has_no_problem_and_noise_is_nested(trained, command, capsys):
    assert command("check", 902, "-np", 1) == 0
    assert "0 problems" in capsys.readouterr().out
    told = json.loads((trained[0].raw / "supervision" / "provenance.json").read_text())["noise"]
    assert list(told["classes"]) == ["disc", "core"]
    assert all(abs(known["mean_dice"] - 0.75) < 0.06 for known in told["classes"].values())
    description = json.loads((trained[0].raw / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "disc": [1, 2], "core": 2, "ignore": 3}


def test_all_stages_run_and_labels_are_painted_maps(trained):
    workspace, log = trained
    assert log.count("Stage: warm-up, 15 iterations") == 2 and log.count("Stage: bootstrapping, 15 iterations") == 3
    assert "(align_shares): disc " in log and "Mean Validation Dice" in log
    state = _final(workspace)["mlbseg"]
    assert np.isfinite(state["epoch_log"]["bootstrap"][2:]).all()
    assert state["disputes"]["gain"].shape == (4, 2, 2) and state["shares"]["bias"].shape == (2, 2)
    generated = list((workspace.fold_folder() / "generated_labels").glob("*.nii.gz"))
    assert generated and all(set(np.unique(array_of(path))) <= {0, 1, 2} for path in generated)


def test_a_killed_training_goes_on_to_the_same_weights(trained):
    undisturbed = _final(trained[0])
    kept = trained[0].fold_folder().rename(trained[0].root / "undisturbed")
    try:
        trained[0].kill_training("Stage: bootstrapping", 2)
        done = trained[0].train("--c")
        assert done.returncode == 0, done.stderr[-3000:]
        resumed = _final(trained[0])
    finally:
        trained[0].fold_folder().rename(trained[0].root / "resumed")
        kept.rename(trained[0].fold_folder())
    for field in ("student_weights", "teacher_weights"):
        assert all(torch.equal(value, undisturbed[field][name]) for name, value in resumed[field].items())


def test_the_audit_has_weights_of_every_region_and_paints_what_it_finds(trained):
    folder = trained[0].fold_folder() / "audit"
    found = json.loads((folder / "audit.json").read_text())
    assert found["classes"] == {"0": "background", "1": "disc", "2": "core"}
    assert np.shape(found["witnesses"]["confusion"]) == (2, 2, 2)
    for row in found["cases"]:
        assert list(row["class_scores"]) == ["disc", "core"] and np.shape(row["confusion"]) == (2, 2, 2)
        given = array_of(trained[0].raw / "labelsTr" / f"{row['case']}.nii.gz")
        for which in ("weight_imperfect_1_disc", "weight_pseudo_2_core", "suspicion", "uncertainty"):
            assert array_of(folder / which / f"{row['case']}.nii.gz").shape == given.shape
        assert set(np.unique(array_of(folder / "network_label" / f"{row['case']}.nii.gz"))) <= {0, 1, 2}
    assert (folder / "report.html").stat().st_size > 20_000


def test_weights_are_judged_and_drawn(trained, command, tmp_path):
    files = ("--json", tmp_path / "weights.json", "--picture", tmp_path / "weights.png")
    model = trained[0].fold_folder().parent
    assert command("weights", model, "--iterations", 3, "--checkpoint", "checkpoint_final.pth", *files) == 0
    numbers = json.loads((tmp_path / "weights.json").read_text())["checkpoints"]["checkpoint_final.pth"]["imperfect"]
    assert 0.01 < numbers["all"]["share_wrong"] < 0.5
    assert sitk.ReadImage(str(tmp_path / "weights.png")).GetHeight() > 300


def test_stock_nnunet_predicts_with_an_exported_model_and_regions_are_scored(trained, command, tmp_path):
    workspace = trained[0]
    model = workspace.fold_folder().parent
    assert command("export", model, model.with_name("nnUNetTrainer__nnUNetPlans__2d_tiny")) == 0
    validated = sorted((workspace.fold_folder() / "validation").glob("*.nii.gz"))[0]
    case = validated.name.removesuffix(".nii.gz")
    label = workspace.predict(tmp_path / "out", case, "nnUNetTrainer", nnUNet_extTrainer="")
    assert np.array_equal(label, array_of(validated)) and label.any()
    reference = workspace.raw / ("labelsTr" if (workspace.raw / "labelsTr" / validated.name).exists() else "labelsTs")
    assert command("evaluate", tmp_path / "out", reference, "--json", tmp_path / "scores.json") == 0
    scores = {row["class"]: row["dice"] for row in json.loads((tmp_path / "scores.json").read_text())["cases"]}
    truth = array_of(reference / validated.name)
    for name, values in {"disc": (1, 2), "core": (2,)}.items():
        a, b = np.isin(label, values), np.isin(truth, values)
        assert scores[name] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
