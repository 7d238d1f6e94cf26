"""``mlbseg audit`` on a small training: what it writes, that it is nnU-Net's own prediction, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from conversion_sources import array_of
from training_support import SUPERVISION, TRAINER, Workspace, add_configuration, write_raw_dataset

from dataset_conversion.supervision.files import Supervision, write_supervision
from dataset_conversion.supervision.sources import write_sources
from nnunetv2_mlbseg.audit.class_weights import clean_direction
from nnunetv2_mlbseg.audit.sources import NO_ERROR
from nnunetv2_mlbseg.cli.main import main
from nnunetv2_mlbseg.maths.tangents.forward import logit_tangents
from nnunetv2_mlbseg.maths.weighting.meta import class_derivatives
from nnunetv2_mlbseg.maths.weighting.normalization import normalize_weights
from nnunetv2_mlbseg.networks.surgery import predicting
from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.training.restored import restored

pytestmark = pytest.mark.integration
NOISY, KINDS = ("n0", "n1"), ("imperfect", "pseudo")


def write_voxels(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(sitk.ReadImage(str(path)))
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training that has learned the discs, although the label of n0 has a block too many and n1's lacks a slice.

    It has to have learned their borders: where the network alone draws a disc a pixel too large all around, the audit
    cannot tell that from a label that is a pixel too small.
    """
    workspace = Workspace(tmp_path_factory.mktemp("audit"))
    write_raw_dataset(workspace.root / "raw")
    labels = workspace.raw / "labelsTr"
    shutil.copytree(labels, workspace.raw / "labelsTr_true")
    wrong = array_of(labels / "n0.nii.gz")
    wrong[1:3, 0:5, 0:5] = 1
    write_voxels(labels / "n0.nii.gz", wrong)
    wrong = array_of(labels / "n1.nii.gz")
    wrong[2] = 0
    write_voxels(labels / "n1.nii.gz", wrong)
    write_sources(workspace.raw, {"n1": "reader2"})
    workspace.plan_and_preprocess()
    add_configuration(workspace.preprocessed)
    schedule = {"warmup_epochs": 8, "epochs": 8, "iterations_per_epoch": 40, "initial_lr": 0.02, "audit": True}
    # Of the labels' background less than one voxel in a hundred is wrong, so Bayes' rule trusts a label more than a
    # network whose word is bounded: it is the clean batches that speak against the block.
    schedule["tied_strength"] = 6
    # With strong views of the unlabeled discs the clean batches of so short a training no longer outvote that rule.
    schedule["strong_weight"] = 0
    done = workspace.train(MLBSEG_CONFIG=json.dumps(schedule))
    assert done.returncode == 0, done.stderr
    return workspace


def test_a_training_can_audit_its_labels_in_the_end(trained):
    (folder,) = trained.root.glob("results/*/*/fold_0/audit")
    found = json.loads((folder / "audit.json").read_text())
    assert sorted(case["case"] for case in found["cases"]) == list(NOISY)
    assert found["checkpoint"] == "checkpoint_final.pth" and found["trainer"] == TRAINER
    assert (folder / "report.html").is_file() and (folder / "weight_imperfect" / "n0.nii.gz").is_file()
    (log,) = folder.parent.glob("training_log_*.txt")
    assert f"Audit of 2 noisy labels in {folder}; worst: " in log.read_text()


@pytest.fixture
def audit(trained, monkeypatch):
    """Run the command in this process: ``audit(...)`` returns its exit code."""
    for name, value in trained.env.items():
        if name.startswith("nnUNet_"):
            monkeypatch.setenv(name, value)
    return lambda *args, dataset="900": main(["audit", dataset, "-c", "2d_tiny", *map(str, args)])


def test_the_wrong_places_are_found_and_the_files_are_complete(trained, audit, tmp_path, capsys):
    out, corrected = tmp_path / "out", tmp_path / "corrected"
    before = {path.name: path.read_bytes() for path in (trained.raw / "labelsTr").iterdir()}
    assert audit("--out", out, "--write-corrected", corrected) == 0
    assert {path.name: path.read_bytes() for path in (trained.raw / "labelsTr").iterdir()} == before
    printed = capsys.readouterr().out
    assert str(out) in printed and "Corrections can be expected to help" in printed
    found = json.loads((out / "audit.json").read_text())
    assert [case["rank"] for case in found["cases"]] == [1, 2]
    assert sorted(case["case"] for case in found["cases"]) == list(NOISY)
    assert found["witnesses"]["confusion"][0][0] > 0.9
    cases = {case["case"]: case for case in found["cases"]}
    surplus = next(region for region in cases["n0"]["regions"] if region["kind"] == "surplus")
    assert 100 <= surplus["size_mm3"] <= 170 and surplus["slices"] == [1, 2]  # 2 x 5 x 5 voxels of 3 mm3
    assert surplus["centroid_mm"] == pytest.approx([-8, 22, 9.5], abs=0.5)
    assert min(enumerate(cases["n1"]["slice_scores"]), key=lambda one: one[1])[0] == 2
    assert any(region["kind"] == "missing" and region["slices"] == [2, 2] for region in cases["n1"]["regions"])
    assert cases["n1"]["expected_gain"] > 0.05
    check_images(trained.raw, out, corrected)
    check_weights(trained.raw, out)
    check_tables(out, found["cases"])
    assert {name: case["source"] for name, case in cases.items()} == {"n0": None, "n1": "reader2"}
    row = {"source": "reader2", "cases": 1, "dice": cases["n1"]["score"], "dice_interval": None}
    assert found["sources"] == [{**row, "errors": [NO_ERROR]}], "one case is not typical"
    assert f"reader2, 1 labels: Dice {row['dice']:.3f}, {NO_ERROR}\n" in printed


def check_images(raw, out, corrected):
    """Suspicion is where the label is wrong, corrections mend, and all images lie where the label does."""
    for name, worse in (("n0", (slice(1, 3), slice(0, 5), slice(0, 5))), ("n1", (2,))):
        given, true = (array_of(raw / folder / f"{name}.nii.gz") for folder in ("labelsTr", "labelsTr_true"))
        suspicion = array_of(out / "suspicion" / f"{name}.nii.gz")
        assert suspicion[given != true].mean() > 0.8 > 0.1 > suspicion[given == true].mean()
        assert suspicion[worse].max() > 0.9
        proposal = array_of(corrected / f"{name}.nii.gz")
        assert (proposal != true).sum() < (given != true).sum()
        uncertainty = array_of(out / "uncertainty" / f"{name}.nii.gz")
        assert 0 <= uncertainty.min() < 0.05 and 0.5 < uncertainty.max() <= 1
        for folder in (out / "network_label", out / "suspicion", out / "uncertainty", corrected):
            image, reference = (sitk.ReadImage(str(path / f"{name}.nii.gz")) for path in (folder, raw / "labelsTr"))
            assert image.GetOrigin() == reference.GetOrigin() and image.GetSpacing() == reference.GetSpacing()


def check_weights(raw, out):
    """Parts of a disputed voxel add up to one; the wrong blob keeps the smaller one."""
    weights = {kind: {name: array_of(out / f"weight_{kind}" / f"{name}.nii.gz") for name in NOISY} for kind in KINDS}
    for name in NOISY:
        given, network = (
            array_of(raw / "labelsTr" / f"{name}.nii.gz"),
            array_of(out / "network_label" / f"{name}.nii.gz"),
        )
        imperfect, pseudo = (weights[kind][name] for kind in KINDS)
        agreed = given == network  # there a rival class may have a part as well
        np.testing.assert_allclose((imperfect + pseudo)[~agreed], 1, atol=2e-3)
        np.testing.assert_allclose(imperfect[agreed], pseudo[agreed], atol=2e-3)
        assert imperfect[agreed].mean() > 0.3 and imperfect.max() <= 1.001
    # the network's word is bounded, so a surplus label keeps a part, the smaller one
    imperfect, pseudo = (weights[kind]["n0"][1:3, 0:5, 0:5] for kind in KINDS)
    assert imperfect.mean() < 0.5 < pseudo.mean()


def check_tables(out, cases):
    """Report and tables hold what ``audit.json`` says."""
    assert (out / "report.html").stat().st_size > 20_000
    with open(out / "cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == [case["case"] for case in cases]
    assert [row["source"] for row in rows] == [case["source"] or "" for case in cases]
    assert float(rows[0]["score"]) == cases[0]["score"] <= cases[1]["score"]
    assert [float(row["expected_gain"]) for row in rows] == [case["expected_gain"] for case in cases]
    with open(out / "regions.csv", newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == sum(len(case["regions"]) for case in cases)


def test_corrections_that_spoil_right_labels_are_written_only_when_asked_for(audit, another, tmp_path, capsys):
    """The right label of the validation case is moved away from what the network draws."""
    raw, _ = another
    validation = raw / "labelsTr" / "v0.nii.gz"
    write_voxels(validation, np.roll(array_of(validation), 16, axis=1))
    out, corrected = tmp_path / "out", tmp_path / "corrected"
    message = refused(audit, capsys, "--out", out, "--write-corrected", corrected)
    assert "corrected: no corrected labels written. Corrections cannot be trusted: they change" in message
    assert message.endswith("Write them with --correct-anyway")
    assert not [path for path in tmp_path.iterdir() if "corrected" in path.name]
    found = json.loads((out / "audit.json").read_text())["corrections"]
    assert list(found["unseen"]) == ["v0"] and found["helps"] is False and found["sentence"] in message
    assert found["network"] < 0.5 < found["labels"] and 2 * found["spoiled"] >= found["changed"]
    assert found["sentence"] in (out / "report.html").read_text()
    assert audit("--out", out, "--write-corrected", corrected, "--correct-anyway", "--force") == 0
    assert found["sentence"] in capsys.readouterr().out
    assert sorted(os.listdir(corrected)) == ["n0.nii.gz", "n1.nii.gz", "proposals.json"]


def test_the_networks_label_is_the_one_that_nnunet_predicts(trained, audit, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(trained.raw / "imagesTr" / "n0_0000.nii.gz", images)
    done = trained.command(
        "nnUNetv2_predict", "-d", 900, "-i", images, "-o", tmp_path / "predicted", "-c", "2d_tiny", "-f", 0,
        "-tr", TRAINER, "-device", "cpu", "-npp", 1, "-nps", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert audit("--out", tmp_path / "out") == 0
    predicted, own = (array_of(tmp_path / name / "n0.nii.gz") for name in ("predicted", "out/network_label"))
    np.testing.assert_array_equal(predicted, own)
    assert own.any()


def refused(audit, capsys, *args, **options) -> str:
    assert audit(*args, **options) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("mlbseg: error: ")
    return message


def test_what_cannot_be_audited_is_refused_in_one_line(trained, audit, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert "there: nnUNetTrainerMLBSeg__nnUNetPlans__2d_tiny" in refused(
        audit, capsys, "-tr", "nnUNetTrainer", "--out", out
    )
    assert "no such file" in refused(audit, capsys, "--checkpoint", "other.pth", "--out", out)
    assert "dataset 901" in refused(audit, capsys, "--out", out, dataset="901")
    assert "stays as it is" in refused(audit, capsys, "--out", out, "--write-corrected", trained.raw / "labelsTr")
    assert "apart from --out" in refused(audit, capsys, "--out", out, "--write-corrected", out / "labels")
    assert "--evidence is 0.3" in refused(audit, capsys, "--out", out, "--evidence", "0.3")
    assert "to write corrected labels use --write-corrected" in refused(audit, capsys, "--out", out, "--corrected", out)
    assert "-d says nothing to an audit: it belongs to --apply" in refused(audit, capsys, "--out", out, "-d", "902")
    out.mkdir()
    (out / "mine").write_text("x")
    assert "exists already" in refused(audit, capsys, "--out", out)
    assert "holds audit.json" in refused(audit, capsys, "--out", out, "--force")
    monkeypatch.delenv("nnUNet_results")
    assert "nnUNet_results is not set" in refused(audit, capsys, "--out", tmp_path / "new")
    assert os.listdir(tmp_path) == ["out"]


@pytest.fixture
def another(trained, tmp_path, monkeypatch):
    """A copy of raw and results that a test may spoil."""
    for name in ("raw", "results"):
        shutil.copytree(trained.root / name, tmp_path / name)
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    (fold,) = tmp_path.glob("results/*/*/fold_0")
    return tmp_path / "raw" / trained.dataset, fold


def test_spoiled_labels_and_foreign_checkpoints_are_refused(audit, another, tmp_path, capsys):
    raw, fold = another
    out, path = tmp_path / "out", fold / "checkpoint_final.pth"
    label = raw / "labelsTr" / "n1.nii.gz"
    write_voxels(label, array_of(label) * 7)
    assert "n1.nii.gz: has the values [7]" in refused(audit, capsys, "--out", out)
    sitk.WriteImage(sitk.ReadImage(str(label))[:, :, :3], str(label))
    assert "shape (3, 32, 32), expected (5, 32, 32)" in refused(audit, capsys, "--out", out)
    label.unlink()
    assert "no label of 1 of 2 noisy training cases (n1)" in refused(audit, capsys, "--out", out)
    unseen = raw / "labelsTr" / "v0.nii.gz"
    shutil.copy(raw / "labelsTr" / "n0.nii.gz", label)
    unseen.unlink()
    assert "no label of 1 of 1 validation cases (v0)" in refused(audit, capsys, "--out", out)
    found = torch.load(path, weights_only=False)
    plans = found["init_args"]["plans"]
    changed = {**found, "init_args": {**found["init_args"], "plans": {**plans, "dataset_name": "Dataset077_X"}}}
    torch.save(changed, path)
    assert "written for dataset Dataset077_X, expected Dataset900_Tiny" in refused(audit, capsys, "--out", out)
    torch.save({**found, "trainer_name": "nnUNetTrainerMLBSegMLB"}, path)
    assert "written for trainer nnUNetTrainerMLBSegMLB" in refused(audit, capsys, "--out", out)
    torch.save({name: value for name, value in found.items() if name != "mlbseg"}, path)
    assert "without mlbseg; expected a checkpoint of nnUNetTrainerMLBSeg" in refused(audit, capsys, "--out", out)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def reweighted(fold: Path, **config) -> None:
    """Let the checkpoint be of a training with another configuration."""
    path = fold / "checkpoint_final.pth"
    found = torch.load(path, weights_only=False)
    torch.save({**found, "mlbseg": {**found["mlbseg"], "config": {**found["mlbseg"]["config"], **config}}}, path)


def test_weights_of_a_meta_training_are_the_derivatives_of_every_slice(audit, another, tmp_path, capsys):
    raw, fold = another
    reweighted(fold, weighting="meta", weight_normalization="sum")
    assert audit("--out", tmp_path / "out") == 0
    found = {kind: array_of(tmp_path / "out" / f"weight_{kind}" / "n0.nii.gz") for kind in KINDS}
    device = torch.device("cpu")
    with restored(checkpoint.read(fold / "checkpoint_final.pth", device), fold, device) as trained_fold:
        direction = clean_direction(trained_fold)
        data, _, _, _ = trained_fold.dataset(["n0"]).load_case("n0")
        with predicting(trained_fold.student) as student:
            slices = torch.from_numpy(np.array(data[:])).movedim(1, 0)  # as large as a patch
            raw_weights = class_derivatives(*logit_tangents(student, slices, direction))
    given, network = (
        torch.from_numpy(array_of(path / "n0.nii.gz").astype(np.int64))
        for path in (raw / "labelsTr", tmp_path / "out" / "network_label")
    )
    raws = [raw_weights.gather(1, labels[:, None])[:, 0] for labels in (given, network)]
    for kind, expected in zip(KINDS, normalize_weights(*raws, "sum"), strict=True):
        assert found[kind].mean() == pytest.approx(1, abs=0.01)
        # nnU-Net adds tiles up in half precision, too coarse for a comparison at the borders of a tile
        inner = (slice(None), slice(4, -4), slice(4, -4))
        expected = expected.numpy() * given.numel()
        np.testing.assert_allclose(found[kind][inner], expected[inner], atol=2e-2, rtol=3e-2)
    reweighted(fold, weighting="uniform")
    assert audit("--out", tmp_path / "plain") == 0
    assert "No weight maps: weighting is uniform" in capsys.readouterr().out
    assert not list((tmp_path / "plain").glob("weight_*"))


def clean_only(fold: Path, **roles) -> str:
    """The trained network once more, as if trained on the clean cases of a dataset where the others had no label."""
    name = "nnUNetTrainerMLBSegCleanOnly"
    found = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    own = found["mlbseg"]
    then = {**own["roles"], "noisy": (), "unlabeled": ("n0", "n1", "u0", "u1"), **roles}
    state = {**own, "roles": then, "config": {**own["config"], "training_labels": "clean", "audit": False}}
    target = fold.parents[1] / fold.parent.name.replace(TRAINER, name) / fold.name
    target.mkdir(parents=True, exist_ok=True)
    torch.save({**found, "trainer_name": name, "mlbseg": state}, target / "checkpoint_final.pth")
    return name


def test_a_network_that_never_saw_the_audited_labels_is_measured_beside(audit, another, tmp_path, capsys):
    _, fold = another
    out, name = tmp_path / "out", clean_only(fold)
    assert audit("--out", out, "--measure", "--compare-with", name) == 0
    measured = json.loads((out / "audit.json").read_text())["measured"]
    # the same network, and cleanlab's scores by it: reached through another dataset's roles
    assert measured["detectors"][name] == measured["detectors"]["network"]
    assert all(case[f"score_softmin {name}"] == case["score_softmin"] for case in measured["cases"])
    assert f"softmin {name}" in capsys.readouterr().out
    clean_only(fold, clean=("c0", "n1"))
    message = refused(audit, capsys, "--out", tmp_path / "new", "--measure", "--compare-with", name)
    assert "checkpoint_final.pth: trained on 1 of the 2 audited cases (n1), expected a training on other" in message
    assert not (tmp_path / "new").exists()


def test_unlabeled_cases_are_ranked_beside_the_audit(trained, audit, tmp_path, capsys):
    out = tmp_path / "out"
    assert audit("--out", out, "--to-label", "5") == 0
    found = json.loads((out / "audit.json").read_text())
    assert len(found["cases"]) == 2 and sorted(row["case"] for row in found["to_label"]) == ["u0", "u1"]
    for rank, row in enumerate(found["to_label"], start=1):
        assert list(row) == ["rank", "case", "expected_gain", "expected_dice", "why"] and row["rank"] == rank
        assert 0 <= row["expected_gain"] <= 1 - row["expected_dice"] < 0.5  # it has learned the discs
    with open(out / "to_label.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["why"]) for row in rows] == [(row["case"], row["why"]) for row in found["to_label"]]
    printed = capsys.readouterr().out
    assert "To label next:" in printed and found["to_label"][0]["why"] in printed
    assert "to_label" in (out / "report.html").read_text()
    assert "--to-label is -1" in refused(audit, capsys, "--out", tmp_path / "new", "--to-label", "-1")


def test_without_noisy_labels_there_still_is_something_to_label(trained, audit, another, tmp_path, monkeypatch, capsys):
    """The dataset as it would be had n0 and n1 no label, and a network that trained on the clean cases."""
    raw, fold = another
    shutil.copytree(trained.root / "preprocessed", tmp_path / "preprocessed")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    roles = Supervision(SUPERVISION.clean, (), ("n0", "n1", "u0", "u1"))
    for folder in (raw, tmp_path / "preprocessed" / trained.dataset):
        write_supervision(folder, roles)
        write_sources(folder, {})
    name, out = clean_only(fold), tmp_path / "out"
    assert audit("-tr", name, "--out", out, "--to-label", "3") == 0
    found = json.loads((out / "audit.json").read_text())
    assert found["cases"] == [] and len({row["case"] for row in found["to_label"]} & set(roles.unlabeled)) == 3
    assert sorted(os.listdir(out)) == ["audit.json", "cases.csv", "regions.csv", "slices.csv", "to_label.csv"]
    assert "No label to audit: fold 0 has no noisy case." in capsys.readouterr().out
    message = refused(audit, capsys, "-tr", name, "--out", tmp_path / "new")
    assert "has no noisy training case, expected labels to audit" in message
    corrected = ("--to-label", "3", "--write-corrected", tmp_path / "corrected")
    assert "no noisy training case" in refused(audit, capsys, "-tr", name, "--out", tmp_path / "new", *corrected)


def test_an_audited_case_is_drawn_anew_and_joins_the_clean_ones(trained, audit, another, tmp_path, monkeypatch, capsys):
    raw, _ = another
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out"
    assert audit("--out", out) == 0
    assert audit("--out", out, "--open-in", "slicer", "n0") == 0
    redrawn = tmp_path / "out_redrawn" / "n0.nii.gz"
    shutil.copy(raw / "labelsTr_true" / "n0.nii.gz", redrawn)
    assert audit("--out", out, "--open-in", "itksnap", "n0") == 0 and "goes on with" in capsys.readouterr().out
    selection = tmp_path / "selection.json"
    selection.write_text(json.dumps({"dataset": trained.dataset, "cases": {"n0": "reannotated"}}))
    assert audit("--apply", selection, "-d", "950", "--reannotated", redrawn.parent) == 0
    new = tmp_path / "raw" / "Dataset950_Tiny"
    assert "n0" in json.loads((new / "supervision" / "clean.json").read_text())
    np.testing.assert_array_equal(
        *(array_of(folder / "n0.nii.gz") for folder in (new / "labelsTr", raw / "labelsTr_true"))
    )


def test_force_replaces_an_earlier_audit(audit, tmp_path):
    assert audit("--out", tmp_path / "out") == 0
    assert audit("--out", tmp_path / "out", "--force", "--smallest-mm3", "1e9") == 0
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert not any(case["regions"] for case in found["cases"])
