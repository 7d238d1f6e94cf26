"""From ``mlbseg split`` with sources, former and true labels to a training, its checkpoint and ``mlbseg weights``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from training_support import SUPERVISION, VALIDATION, Workspace, add_configuration, write_raw_dataset

from dataset_conversion.supervision.files import read_splits
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels
from nnunetv2_mlbseg.maths.weighting.told_apart import pair_counts

pytestmark = pytest.mark.integration


def _voxels(path: Path) -> torch.Tensor:
    return torch.from_numpy(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.int64))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Cases c0 and v0 had labels without the upper border of their discs; nobody may learn from v0, which validates."""
    workspace = Workspace(tmp_path_factory.mktemp("sources"), "Dataset901_Tiny")
    raw = write_raw_dataset(workspace.root / "raw")
    true, former = workspace.root / "true", workspace.root / "former"
    shutil.copytree(raw / "labelsTr", true)
    former.mkdir()
    for case in ("c0", *VALIDATION):
        image = sitk.ReadImage(str(raw / "labelsTr" / f"{case}.nii.gz"))
        changed = sitk.GetArrayFromImage(image)
        changed[:, 2:] &= changed[:, :-2]
        smaller = sitk.GetImageFromArray(changed)
        smaller.CopyInformation(image)
        sitk.WriteImage(smaller, str(former / f"{case}.nii.gz"))
    roles = [("--clean", *SUPERVISION.clean, *VALIDATION), ("--noisy", *SUPERVISION.noisy)]
    roles += [("--unlabeled", *SUPERVISION.unlabeled), ("--always-train", "c1"), ("--folds", "2")]
    reader2 = workspace.root / "reader2"
    reader2.mkdir()
    for case in ("c0", "n0", *VALIDATION):
        shutil.copy(true / f"{case}.nii.gz", reader2)
    beside = ("--former-labels", former, "--true-labels", true, "--source", "old", "n1", "c0")
    beside += ("--further-labels", "reader2", reader2)
    made = workspace.command("mlbseg", "split", 900, "-d", 901, *(word for role in roles for word in role), *beside)
    assert made.returncode == 0, made.stderr
    checked = workspace.command("mlbseg", "check", 901, "--skip-nnunet")
    assert checked.returncode == 0, checked.stdout
    workspace.plan_and_preprocess()
    add_configuration(workspace.preprocessed)
    return workspace


def test_known_pairs_of_training_cases_alone_enter_the_record_and_true_labels_judge_weights(trained):
    fold = next(number for number, one in enumerate(read_splits(trained.raw)) if list(VALIDATION) == one["val"])
    done = trained.train(fold=str(fold))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "How labels err is known from former labels of 1 clean training cases" in done.stdout
    folder = trained.fold_folder(fold=str(fold))
    stored = torch.load(folder / "checkpoint_final.pth", map_location="cpu", weights_only=False)["mlbseg"]
    record = stored["disputes"]
    truth, former = (_voxels(trained.raw / name / "c0.nii.gz") for name in ("labelsTr", "labelsTr_former"))
    expected = pair_counts(truth, former, depth_levels(former), 2)
    assert expected[1, 0].sum() > 0 and torch.equal(record["known"][2], expected), "of the source of n1"
    assert torch.equal(record["known"][3], pair_counts(truth, truth, depth_levels(truth), 2)), "the further label of c0"
    assert not record["known"][:2].any() and record["sources"].any()
    assert "Further labels by reader2: of 1 noisy and 1 clean cases" in done.stdout
    assert record["source_of"].tolist() == [0, 1, 2, 2], "labels of n0 and n1, then further ones"
    assert [one.any().item() for one in record["cases"]] == [True, True, True, False]
    assert "sources" not in stored["roles"] and not (folder / "former_labels" / "v0.b2nd").exists()
    done = trained.command("mlbseg", "weights", folder.parent, "-f", fold, "--iterations", 2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "checkpoint_final.pth" in done.stdout
    again = trained.train("--c", fold=str(fold))
    assert again.returncode == 0, again.stderr[-3000:]
    audited = trained.command("mlbseg", "audit", 901, "-c", "2d_tiny", "-f", fold, "--out", trained.root / "audit")
    assert audited.returncode == 0, audited.stderr[-3000:]
    rows = {row["case"]: row for row in json.loads((trained.root / "audit" / "audit.json").read_text())["cases"]}
    assert [(rows[n]["source"], rows[n]["further_labels"]) for n in ("n0", "n1")] == [(None, ["reader2"]), ("old", [])]
