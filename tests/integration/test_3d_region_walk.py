"""Volumes with nested regions, from a user's dataset to an ensemble of 2D and 3D, on the plans of nnU-Net's ResEnc M.

Every command is typed as in the documentation; the settings only make the trainings short.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conversion_sources import array_of, read
from region_dataset import write_clean_dataset
from training_support import Workspace

pytestmark = pytest.mark.integration

PLANS, TRAINER, FACE_VALUE = "nnUNetResEncUNetMPlans", "nnUNetTrainerMLBSeg", "nnUNetTrainerMLBSegAllLabels"
SHORT = {"warmup_epochs": 1, "epochs": 1, "iterations_per_epoch": 2, "val_iterations_per_epoch": 1, "seed": 1}
SHAPE = (16, 32, 32)


def model_of(space: Workspace) -> Path:
    return space.root / "results" / space.dataset / f"{TRAINER}__{PLANS}__3d_fullres"


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """A workspace after all commands, and what each of them printed."""
    space = Workspace(tmp_path_factory.mktemp("walk"), "Dataset546_Nested")
    raw, archive, images = space.root / "raw", space.root / "archive", space.root / "images"
    write_clean_dataset(raw / "Dataset045_Nested", cases=9, shape=SHAPE)
    write_clean_dataset(space.root / "others", cases=2, shape=SHAPE, first=20)
    archive.mkdir(), images.mkdir()
    for number in (20, 21):
        shutil.copy(space.root / "others" / "imagesTr" / f"p{number}_0000.nii.gz", archive)
    shutil.copy(raw / "Dataset045_Nested" / "imagesTr" / "p0_0000.nii.gz", images)
    network = f"-tr {TRAINER} -p {PLANS}"
    predicting = "-device cpu --save_probabilities -npp 1 -nps 1"
    lines = [
        # A rehearsal on simulated noise in 3D; then roles for the noisy labels that came of it.
        "mlbseg convert nnunet 45 -d 545 --name Nested --clean 5 --noisy-ratio 1 --no-per-slice --noise-level 0.75 "
        "-np 1",
        f"mlbseg split 545 -d 546 --clean rest --noisy NOISY --unlabeled-images {archive} --true-labels TRUE",
        "mlbseg check 546 -np 1",
        "nnUNetv2_plan_and_preprocess -d 546 -pl nnUNetPlannerResEncM -c 2d 3d_fullres -npfp 1 -np 1",
        f"nnUNetv2_train 546 3d_fullres 0 {network} -device cpu --npz",
        f"nnUNetv2_train 546 2d 0 {network} -device cpu --npz",
        f"nnUNetv2_train 546 3d_fullres 0 {network} -device cpu --val --npz",
        f"nnUNetv2_find_best_configuration 546 -c 2d 3d_fullres -f 0 -tr {TRAINER} -p {PLANS} -np 1",
        f"nnUNetv2_train 546 2d 0 -tr {FACE_VALUE} -p {PLANS} -device cpu --npz",
        f"nnUNetv2_find_best_configuration 546 -c 2d -f 0 -tr {TRAINER} {FACE_VALUE} -p {PLANS} -np 1",
        f"nnUNetv2_predict -d 546 -i {images} -o OUT2 -c 2d -f 0 {network} {predicting}",
        f"nnUNetv2_predict -d 546 -i {images} -o OUT3 -c 3d_fullres -f 0 {network} {predicting}",
        "nnUNetv2_ensemble -i OUT2 OUT3 -o BOTH -np 1",
        f"mlbseg evaluate BOTH {raw / 'Dataset045_Nested' / 'labelsTr'} --json scores.json",
        f"mlbseg audit 546 -c 3d_fullres {network} --out AUDIT --measure",
        "mlbseg weights MODEL --iterations 2 --checkpoint checkpoint_final.pth --json weights.json "
        "--picture weights.png",
        "mlbseg export MODEL EXPORTED",
    ]
    model = model_of(space)
    places = {name: space.root / name for name in ("OUT2", "OUT3", "BOTH", "AUDIT", "scores.json", "weights.json")}
    places |= {"weights.png": space.root / "weights.png", "MODEL": model, "NOISY": space.root / "noisy.txt"}
    places["TRUE"] = shutil.copytree(space.root / "others" / "labelsTr", space.root / "true")
    places["EXPORTED"] = model.with_name(f"nnUNetTrainer__{PLANS}__3d_fullres")
    said = {}
    for line in lines:
        words = [str(places.get(word, word)) for word in shlex.split(line)]
        variables = {"nnUNet_n_proc_DA": "0", "MLBSEG_CONFIG": json.dumps(SHORT)} if "train" in words[0] else {}
        done = space.command(*words, **variables)
        assert done.returncode == 0, (line, done.stdout[-2000:], done.stderr[-3000:])
        said[line] = done.stdout
        if line.startswith("mlbseg convert"):
            noisy = read(raw / "Dataset545_Nested" / "supervision" / "noisy.json")
            (space.root / "noisy.txt").write_text("\n".join(noisy) + "\n")
            shutil.copytree(raw / "Dataset545_Nested" / "labelsTr_true", places["TRUE"], dirs_exist_ok=True)
    return space, said


def test_split_keeps_regions_their_order_and_the_true_labels(typed):
    space, said = typed
    described = read(space.raw / "dataset.json")
    assert described["labels"] == {"background": 0, "disc": [1, 2], "core": 2, "ignore": 3}
    assert described["regions_class_order"][:2] == [1, 2]
    assert "0 problems" in said["mlbseg check 546 -np 1"]
    roles = {name: read(space.raw / "supervision" / f"{name}.json") for name in ("noisy", "unlabeled")}
    assert len(roles["noisy"]) >= 2 and roles["unlabeled"] == ["p20", "p21"]
    noisy = array_of(space.raw / "labelsTr" / f"{roles['noisy'][0]}.nii.gz")
    true = array_of(space.root / "raw" / "Dataset045_Nested" / "labelsTr" / f"{roles['noisy'][0]}.nii.gz")
    assert (noisy != true).any()


def test_a_residual_network_of_the_planner_trains_in_3d(typed):
    space, _ = typed
    plans = read(space.preprocessed / f"{PLANS}.json")["configurations"]["3d_fullres"]
    assert plans["architecture"]["network_class_name"].endswith("ResidualEncoderUNet")
    assert read(model_of(space) / "fold_0" / "mlbseg_log.json")["views"] == ["image", "drawn"]


def test_nnunet_chooses_between_both_and_ensembles_them(typed):
    space, said = typed
    chosen = next(text for line, text in said.items() if "find_best" in line)
    assert f"{TRAINER}__{PLANS}__3d_fullres" in chosen and f"{TRAINER}__{PLANS}__2d" in chosen
    of_trainers = next(text for line, text in said.items() if "find_best" in line and FACE_VALUE in line)
    assert all(f"{name}__{PLANS}__2d" in of_trainers for name in (TRAINER, FACE_VALUE))
    assert "ensemble___" in of_trainers
    label = array_of(space.root / "BOTH" / "p0.nii.gz")
    assert label.shape == SHAPE and set(np.unique(label)) <= {0, 1, 2}
    scores = read(space.root / "scores.json")["cases"]
    assert {row["class"] for row in scores} == {"disc", "core"}


def test_audit_weights_and_export_speak_of_regions_in_3d(typed):
    space, _ = typed
    audit = read(space.root / "AUDIT" / "audit.json")
    assert all(list(row["class_scores"]) == ["disc", "core"] for row in audit["cases"])
    assert (space.root / "AUDIT" / "report.html").stat().st_size > 20_000
    judged = read(space.root / "weights.json")["checkpoints"]["checkpoint_final.pth"]["imperfect"]
    assert 0.001 < judged["all"]["share_wrong"] < 0.5
    assert sitk.ReadImage(str(space.root / "weights.png")).GetHeight() > 100
    exported = model_of(space).with_name(f"nnUNetTrainer__{PLANS}__3d_fullres")
    assert (exported / "fold_0" / "checkpoint_final.pth").is_file()
