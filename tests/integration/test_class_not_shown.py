"""A class that only noisy labels show is learned from them, with nnU-Net's own command on a tiny dataset."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from training_support import SHORT, Workspace, add_configuration

from dataset_conversion.supervision.files import Supervision, write_splits, write_supervision

pytestmark = pytest.mark.integration

DATASET = "Dataset900_NotShown"
ROLES = Supervision(clean=("c0", "c1", "c2"), noisy=("n0", "n1", "n2", "n3"), unlabeled=("u0",))
VALIDATION = ("v0", "v1")
LENGTH = {"warmup_epochs": 2, "epochs": 6, "iterations_per_epoch": 50, "initial_lr": 0.02, "ema_decay": 0.95}


def write_dataset(folder: Path) -> None:
    """A bright organ in all scans, and a dark lesion in those that are not clean, right in every label."""
    cases = [*ROLES.roles(), *VALIDATION]
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number, case in enumerate(cases):
        draw = np.random.default_rng(number)
        z, y, x = np.mgrid[0:5, 0:32, 0:32]
        label = np.zeros(z.shape, np.uint8)
        for value, rows in ((1, (8, 12)), (2, (22, 25))):
            if value == 1 or case not in ROLES.clean:
                label[(y - draw.integers(*rows)) ** 2 + (x - draw.integers(8, 24)) ** 2 < 30] = value
        image = (np.array([0, 3.0, -3.0])[label] + draw.normal(0, 0.3, label.shape)).astype(np.float32)
        label = np.full_like(label, 3) if case in ROLES.unlabeled else label
        sitk.WriteImage(sitk.GetImageFromArray(image), str(folder / "imagesTr" / f"{case}_0000.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(label), str(folder / "labelsTr" / f"{case}.nii.gz"))
    labels = {"background": 0, "organ": 1, "lesion": 2, "ignore": 3}
    description = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": len(cases)}
    (folder / "dataset.json").write_text(json.dumps({**description, "file_ending": ".nii.gz"}))
    write_supervision(folder, ROLES)
    write_splits(folder, [{"train": list(ROLES.roles()), "val": list(VALIDATION)}])


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = Workspace(tmp_path_factory.mktemp("not_shown"), DATASET)
    write_dataset(found.raw)
    found.plan_and_preprocess()
    add_configuration(found.preprocessed, mlbseg={**SHORT, **LENGTH})
    return found


def dice(workspace: Workspace, trainer: str) -> dict[str, float]:
    """Of both classes in the validation cases, which show them."""
    summary = json.loads((workspace.fold_folder(trainer=trainer) / "validation" / "summary.json").read_text())
    return {value: summary["mean"][value]["Dice"] for value in ("1", "2")}


@pytest.mark.parametrize("settings", [{}, {"preset": "paper", **LENGTH, "iterations_per_epoch": 100}])
def test_a_class_that_no_clean_case_shows_is_learned_from_the_noisy_labels(workspace, settings):
    done = workspace.train(MLBSEG_CONFIG=json.dumps({**settings, "seed": 1}))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    told = "Class lesion: no clean training case shows it, the noisy labels alone teach it, at face value"
    assert done.stdout.count(told) == 1
    found = dice(workspace, "nnUNetTrainerMLBSeg")
    assert found["1"] > 0.9 and found["2"] > 0.9, found
    generated = workspace.fold_folder() / "generated_labels" / "u0.nii.gz"
    assert 2 not in sitk.GetArrayFromImage(sitk.ReadImage(str(generated)))


def test_an_audit_does_not_take_its_labels_for_wrong(workspace, tmp_path):
    done = workspace.command("mlbseg", "audit", 900, "-c", "2d_tiny", "--out", tmp_path / "audit")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Not judged, as no clean training case shows it: lesion." in done.stdout
    found = json.loads((tmp_path / "audit" / "audit.json").read_text())
    for case in found["cases"]:
        assert all("lesion" not in (region["given"], region["proposed"]) for region in case["regions"])
        assert case["class_scores"]["lesion"] is None
