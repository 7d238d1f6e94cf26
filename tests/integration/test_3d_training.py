"""3D configurations by nnU-Net's own commands, through all stages, on a tiny dataset of awkward volumes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from training_support import SUPERVISION, Workspace
from volume_support import CHANNELS, DATASET, prepared_volumes

from nnunetv2_mlbseg.cli.main import main

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace after an undisturbed training with an audit at its end, and its log."""
    workspace = prepared_volumes(tmp_path_factory.mktemp("volumes"))
    done = workspace.train(configuration="3d_iso", MLBSEG_CONFIG='{"audit": true}')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return workspace, done.stdout


@pytest.fixture
def command(trained, monkeypatch):
    """``mlbseg`` in this process, with nnU-Net's folders."""
    for name, value in trained[0].env.items():
        if name.startswith("nnUNet_"):
            monkeypatch.setenv(name, value)
    return lambda *args: main([*map(str, args)])


def final(workspace: Workspace, configuration: str, fold: str = "0") -> dict:
    path = workspace.fold_folder(configuration, fold) / "checkpoint_final.pth"
    return torch.load(path, map_location="cpu", weights_only=False)


def test_all_stages_run_with_small_and_flat_scans_and_several_channels(trained):
    workspace, log = trained
    assert log.count("Stage: warm-up, 12 iterations") == log.count("Stage: bootstrapping, 12 iterations") == 2
    assert "generated label 2 of 2: u1" in log and "Mean Validation Dice" in log
    state = final(workspace, "3d_iso")["mlbseg"]
    assert np.isfinite(state["epoch_log"]["bootstrap"][2:]).all() and state["ema_step"] == 48
    for case in SUPERVISION.unlabeled:
        label = sitk.ReadImage(str(workspace.fold_folder("3d_iso") / "generated_labels" / f"{case}.nii.gz"))
        image = sitk.ReadImage(str(workspace.raw / "imagesTr" / f"{case}_0000.nii.gz"))
        assert (label.GetSize(), label.GetSpacing()) == (image.GetSize(), image.GetSpacing())


def test_a_killed_training_goes_on_to_the_same_weights(trained):
    undisturbed = final(trained[0], "3d_iso")
    kept = trained[0].fold_folder("3d_iso").rename(trained[0].root / "undisturbed")
    try:
        trained[0].kill_training("Stage: bootstrapping", 2, "3d_iso")
        done = trained[0].train("--c", configuration="3d_iso")
        assert done.returncode == 0, done.stderr[-3000:]
        resumed = final(trained[0], "3d_iso")
    finally:
        trained[0].fold_folder("3d_iso").rename(trained[0].root / "resumed")
        kept.rename(trained[0].fold_folder("3d_iso"))
    for field in ("student_weights", "teacher_weights"):
        assert all(torch.equal(value, undisturbed[field][name]) for name, value in resumed[field].items())


def test_flat_patches_a_residual_network_and_fold_all(trained):
    workspace = trained[0]
    done = workspace.train(configuration="3d_flat", fold="all")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "do_dummy_2d_data_aug: True" in done.stdout and "Mean Validation Dice" in done.stdout
    assert np.isfinite(final(workspace, "3d_flat", "all")["mlbseg"]["epoch_log"]["bootstrap"][2:]).all()


def test_the_audit_at_the_end_has_maps_and_pictures_of_the_noisy_volumes(trained):
    folder = trained[0].fold_folder("3d_iso") / "audit"
    found = json.loads((folder / "audit.json").read_text())
    assert sorted(case["case"] for case in found["cases"]) == list(SUPERVISION.noisy)
    for case in SUPERVISION.noisy:
        label = sitk.ReadImage(str(trained[0].raw / "labelsTr" / f"{case}.nii.gz"))
        suspicion = sitk.ReadImage(str(folder / "suspicion" / f"{case}.nii.gz"))
        assert suspicion.GetSize() == label.GetSize() and 0 <= sitk.GetArrayFromImage(suspicion).max() <= 1
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count('"volume":true') == len(SUPERVISION.noisy) and '"volume":false' not in page


def test_weights_are_judged_and_drawn(trained, command, tmp_path, capsys):
    model = trained[0].fold_folder("3d_iso").parent
    files = ("--json", tmp_path / "weights.json", "--picture", tmp_path / "weights.png", "--channel", 2)
    assert command("weights", model, "--iterations", 3, "--checkpoint", "checkpoint_final.pth", *files) == 0
    assert command("weights", model, "--channel", CHANNELS) == 2
    assert "channel 4 of 4, expected 0 to 3" in capsys.readouterr().err
    numbers = json.loads((tmp_path / "weights.json").read_text())["checkpoints"]["checkpoint_final.pth"]["imperfect"]
    assert numbers["all"]["share_wrong"] > 0.01
    assert sitk.ReadImage(str(tmp_path / "weights.png")).GetHeight() > 300


def test_stock_nnunet_predicts_with_an_exported_model_as_ours_does(trained, command, tmp_path):
    workspace = trained[0]
    model = workspace.fold_folder("3d_iso").parent
    stock = model.with_name("nnUNetTrainer__nnUNetPlans__3d_iso")
    assert command("export", model, stock) == 0
    (tmp_path / "in").mkdir()
    for channel in range(CHANNELS):
        name = f"v0_{channel:04d}.nii.gz"
        (tmp_path / "in" / name).symlink_to(workspace.root / "raw" / DATASET / "imagesTr" / name)
    where = ("-d", 901, "-i", tmp_path / "in", "-o", tmp_path / "out", "-c", "3d_iso", "-f", 0, "-device", "cpu")
    done = workspace.command("nnUNetv2_predict", *where, "-npp", 1, "-nps", 1, nnUNet_extTrainer="")
    assert done.returncode == 0, done.stderr[-3000:]
    validated = workspace.fold_folder("3d_iso") / "validation" / "v0.nii.gz"
    read = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (tmp_path / "out" / "v0.nii.gz", validated)]
    assert np.array_equal(*read) and read[0].any()
