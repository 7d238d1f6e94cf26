"""Every variant trained on a tiny dataset: iterations, cases and labels, and who opens the true labels."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from opened_files import OpenedFiles
from trainer_names import SUFFIXES, trainer_class
from training_support import SUPERVISION, VALIDATION, Workspace, add_configuration, write_raw_dataset

from dataset_conversion.supervision.files import Supervision, write_splits, write_supervision
from nnunetv2_mlbseg.cli.main import main
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.weight_quality.measure import measure
from noise_synthesis.safe_io.errors import InputError

pytestmark = pytest.mark.integration

IMPERFECT = (*SUPERVISION.noisy, *SUPERVISION.unlabeled)
ONE_AND_ONE = {
    "warmup_epochs": 1,
    "epochs": 1,
    "iterations_per_epoch": 2,
    "val_iterations_per_epoch": 1,
    "cpu_bfloat16": False,
}
CLEAN_ONLY = Supervision(clean=SUPERVISION.clean)


def write_true_labels(raw: Path) -> None:
    """Unlike the labels that are given: squares where those of unlabeled cases are hidden, discs without two rows."""
    (raw / "labelsTr_true").mkdir()
    for case in IMPERFECT:
        label = sitk.ReadImage(str(raw / "labelsTr" / f"{case}.nii.gz"))
        true = sitk.GetArrayFromImage(label)
        if case in SUPERVISION.unlabeled:
            true[:] = 0
            true[:, 8:16, 8:20] = 1
        true[:, 15:17] = 0
        shown = sitk.GetImageFromArray(true)
        shown.CopyInformation(label)
        sitk.WriteImage(shown, str(raw / "labelsTr_true" / f"{case}.nii.gz"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = Workspace(tmp_path_factory.mktemp("template"))
    raw = write_raw_dataset(workspace.root / "raw")
    write_true_labels(raw)
    workspace.plan_and_preprocess()
    add_configuration(workspace.preprocessed)
    return workspace.root


@pytest.fixture
def workspace(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A copy that a test may spoil, known to nnU-Net in this process as well."""
    subprocess.run(["cp", "-r", f"{template}/.", str(tmp_path)], check=True)
    made = Workspace(tmp_path)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, made.env[name])
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.delenv("MLBSEG_CONFIG", raising=False)
    yield made


def trainer_of(workspace: Workspace, suffix: str) -> nnUNetTrainerMLBSeg:
    return (trainer_class(suffix) if suffix else nnUNetTrainerMLBSeg)(*workspace.arguments())


def plain_dataset(trainer: nnUNetTrainerMLBSeg) -> nnUNetBaseDataset:
    """What plain training draws from, with the labels in place that it needs."""
    trainer.initialize()
    loader, _ = trainer.get_dataloaders()
    return loader.data_loader._data


def train(trainer: nnUNetTrainerMLBSeg) -> list[dict]:
    """Train; the batch of every iteration."""
    drawn, step = [], trainer.train_step

    def counted(batch):
        drawn.append(batch)
        return step(batch)

    trainer.train_step = counted
    trainer.run_training()
    return drawn


@pytest.mark.parametrize("suffix", ["", *SUFFIXES])
def test_every_variant_trains_as_long_as_the_method_and_leaves_true_labels_alone(workspace, suffix):
    """iterations_per_epoch null: passes over 10 clean slices by 4 and 20 imperfect slices by 1, for all of them."""
    settings = {"warmup_epochs": 1, "epochs": 1, "iterations_per_epoch": None, "val_iterations_per_epoch": 1}
    add_configuration(workspace.preprocessed, mlbseg={**settings, "seed": 1})
    with OpenedFiles(workspace.raw / "labelsTr_true") as opened:
        trainer = trainer_of(workspace, suffix)
        drawn = train(trainer)
        assert opened.names() - {""} == ({f"{case}.nii.gz" for case in IMPERFECT} if suffix == "NoNoise" else set())
    assert len(drawn) == 3 + 20
    name = type(trainer).__name__
    final = torch.load(workspace.fold_folder(trainer=name) / "checkpoint_final.pth", weights_only=False)
    assert final["trainer_name"] == name and final["mlbseg"]["ema_step"] == 23
    log = final["mlbseg"]["epoch_log"]
    plain = suffix in ("CleanOnly", "AllLabels", "NoNoise")
    assert all(np.isfinite(value) for value in (log["plain"] if plain else log["bootstrap"][1:]))
    assert ("imperfect_data" in drawn[-1]) != plain
    views = {"": 5, "Uniform": 5, "MLBPLE": 5, "UNetPlusPlus": 5}.get(suffix, 1)
    assert plain or drawn[-1]["imperfect_data"].shape[0] == 1
    assert plain or (log["views"][-1] is not None) == (views > 1)
    assert plain or (log["teacher"][-1] is not None) == (suffix in ("", "Uniform", "MLBMeanTeacher", "UNetPlusPlus"))
    if suffix == "NLReweighting":
        assert log["share_pseudo"][-1] == 0 and log["share_imperfect"][-1] > 0


@pytest.mark.parametrize(
    ("suffix", "cases"),
    [
        ("CleanOnly", SUPERVISION.clean),
        ("AllLabels", (*SUPERVISION.clean, *SUPERVISION.noisy)),
        ("NoNoise", (*SUPERVISION.clean, *IMPERFECT)),
    ],
)
def test_plain_training_draws_its_cases_with_their_labels(workspace, suffix, cases):
    trainer = trainer_of(workspace, suffix)
    dataset = plain_dataset(trainer)
    assert dataset.identifiers == sorted(cases)
    for case in dataset.identifiers:
        folder = "labelsTr_true" if suffix == "NoNoise" and case in IMPERFECT else "labelsTr"
        expected = sitk.GetArrayFromImage(sitk.ReadImage(str(workspace.raw / folder / f"{case}.nii.gz")))
        data, seg, _, properties = dataset.load_case(case)
        found = np.asarray(seg[:])
        assert found.shape[1:] == data.shape[1:]
        assert np.array_equal(np.maximum(found[0], 0), expected)  # -1 marks the outside of nnU-Net's mask
        locations = np.asarray(properties["class_locations"][1])
        assert (found[tuple(locations.T)] == 1).all() and len(locations)


def _no_workers(*_, **__):
    raise AssertionError("workers forked here can lose the signal that ends them")


def test_true_labels_are_prepared_once_and_a_killed_preparation_goes_on(workspace, monkeypatch):
    monkeypatch.setattr("nnunetv2.utilities.utils.Pool", _no_workers)
    plain_dataset(trainer_of(workspace, "NoNoise"))
    folder = workspace.fold_folder(trainer="nnUNetTrainerMLBSegNoNoise") / "true_labels"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["cases"] == sorted(IMPERFECT)
    first = (folder / "n0.b2nd").stat().st_mtime_ns
    manifest["cases"].remove("u1")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "u1.b2nd").unlink()
    plain_dataset(trainer_of(workspace, "NoNoise"))
    assert (folder / "u1.b2nd").is_file() and (folder / "n0.b2nd").stat().st_mtime_ns == first
    shutil.copy(workspace.raw / "labelsTr_true" / "u0.nii.gz", workspace.raw / "labelsTr_true" / "n0.nii.gz")
    plain_dataset(trainer_of(workspace, "NoNoise"))
    assert (folder / "n0.b2nd").stat().st_mtime_ns > first


def _no_file(workspace: Workspace) -> None:
    (workspace.raw / "labelsTr_true" / "u1.nii.gz").unlink()


def _other_shape(workspace: Workspace) -> None:
    path = str(workspace.raw / "labelsTr_true" / "n1.nii.gz")
    label = sitk.ReadImage(path)
    sitk.WriteImage(label[:, :, :-1], path)


def _strange_value(workspace: Workspace) -> None:
    path = str(workspace.raw / "labelsTr_true" / "n1.nii.gz")
    sitk.WriteImage(sitk.ReadImage(path) * 7, path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_file, r"labelsTr_true: no true label of 1 of 4 noisy and unlabeled training cases \(u1\)"),
        (_other_shape, r"n1.nii.gz: cannot be preprocessed \(AssertionError: Shape mismatch between image and"),
        (_strange_value, r"n1.nii.gz: has the values \[7\], expected only \[0, 1, 2\]"),
    ],
)
def test_true_labels_that_cannot_be_used_are_one_line(workspace, spoil, words):
    spoil(workspace)
    with pytest.raises(InputError, match=words) as caught:
        plain_dataset(trainer_of(workspace, "NoNoise"))
    assert "\n" not in str(caught.value)


def test_true_labels_need_the_raw_dataset(workspace, monkeypatch):
    trainer = trainer_of(workspace, "NoNoise")
    monkeypatch.delenv("nnUNet_raw")
    with pytest.raises(InputError, match="nnUNet_raw is not set"):
        plain_dataset(trainer)


@pytest.mark.parametrize("suffix", ["CleanOnly", "AllLabels", "NoNoise"])
def test_plain_training_needs_no_imperfect_case_and_the_method_does(workspace, suffix):
    for folder in (workspace.raw, workspace.preprocessed):
        write_supervision(folder, CLEAN_ONLY)
        write_splits(folder, [{"train": list(CLEAN_ONLY.clean), "val": list(VALIDATION)}])
    settings = {"warmup_epochs": 1, "epochs": 1, "iterations_per_epoch": None, "val_iterations_per_epoch": 1}
    add_configuration(workspace.preprocessed, mlbseg=settings)
    assert len(train(trainer_of(workspace, suffix))) == 3 + 3
    with pytest.raises(InputError, match="neither a noisy nor an unlabeled case"):
        trainer_of(workspace, "MLB")


def test_unetplusplus_predicts_through_nnunet(workspace):
    """A patch that is not a multiple of 16; nnU-Net's predictor finds the trainer and builds its network."""
    add_configuration(workspace.preprocessed, patch_size=[36, 44], mlbseg=ONE_AND_ONE)
    trainer = trainer_of(workspace, "UNetPlusPlus")
    train(trainer)
    predictor = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False)
    model = workspace.fold_folder(trainer="nnUNetTrainerMLBSegUNetPlusPlus").parent
    predictor.initialize_from_trained_model_folder(str(model), (0,), "checkpoint_final.pth")
    image, properties = SimpleITKIO().read_images([str(workspace.raw / "imagesTr" / "v0_0000.nii.gz")])
    label = predictor.predict_single_npy_array(image, properties)
    assert label.shape == image.shape[1:] and set(np.unique(label)) <= {0, 1}
    teacher = trainer.learning.teacher.network.state_dict()
    assert all(torch.equal(value, teacher[name]) for name, value in predictor.list_of_parameters[0].items())
    add_configuration(workspace.preprocessed, patch_size=[36, 31])
    with pytest.raises(InputError, match=r"patch_size is \[36, 31\], expected at least 32 along each axis"):
        trainer_of(workspace, "UNetPlusPlus").initialize()


def test_unetplusplus_without_monai_is_one_line(workspace, monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(InputError, match="comes from MONAI, which is not installed: pip install monai"):
        trainer_of(workspace, "UNetPlusPlus").initialize()


def test_weights_are_judged_by_true_labels_that_go_through_the_same_augmentation(workspace, tmp_path, capsys):
    """Where given and true labels are the same no pixel is wrong; where rows are missing those alone are."""
    add_configuration(workspace.preprocessed, mlbseg={**ONE_AND_ONE, "imperfect_batch_size": 2, "seed": 1})
    train(trainer_of(workspace, "Uniform"))
    train(trainer_of(workspace, ""))
    model, out = workspace.fold_folder().parent, tmp_path / "quality.json"
    picture = tmp_path / "weights.png"
    assert main(["weights", str(model), "--iterations", "3", "--json", str(out), "--picture", str(picture)]) == 0
    assert sitk.ReadImage(str(picture)).GetNumberOfComponentsPerPixel() == 4
    shown = capsys.readouterr().out
    assert "warmup" in shown and "final" in shown and "imperfect, disputed" in shown
    found = json.loads(out.read_text())
    assert found["trainer"] == "nnUNetTrainerMLBSeg" and len(found["views"]) == 5
    assert found["checkpoints"]["checkpoint_warmup.pth"]["epoch"] == 1
    for entry in found["checkpoints"].values():
        for label in ("imperfect", "pseudo"):
            everywhere, disputed = entry[label]["all"], entry[label]["disputed"]
            assert 0 < everywhere["auroc_raw_weight"] < 1 and len(everywhere["auroc_raw_weight_by_batch"]) <= 3
            assert disputed["pixels"] < everywhere["pixels"] <= 3 * 2 * 5 * 32 * 32
        assert 0 < entry["imperfect"]["all"]["share_wrong"] < 0.1
    again = tmp_path / "again.json"
    main(["weights", str(model), "--iterations", "3", "--json", str(again), "--checkpoint", "checkpoint_final.pth"])
    last = "checkpoint_final.pth"
    assert json.loads(again.read_text())["checkpoints"] == {last: found["checkpoints"][last]}
    generated = tmp_path / "generated.json"
    main(["weights", str(model), "--role", "unlabeled", "--iterations", "2", "--json", str(generated)])
    assert json.loads(generated.read_text())["checkpoints"][last]["imperfect"]["all"]["share_wrong"] > 0

    for case in SUPERVISION.noisy:
        shutil.copy(workspace.raw / "labelsTr" / f"{case}.nii.gz", workspace.raw / "labelsTr_true")
    uniform = measure(workspace.fold_folder(trainer="nnUNetTrainerMLBSegUniform"), iterations=2)
    numbers = uniform["checkpoints"][last]["imperfect"]["all"]
    assert numbers["share_wrong"] == 0 and numbers["auroc_raw_weight"] is None
    assert numbers["relative_weight_right"] == pytest.approx(1) and numbers["relative_weight_wrong"] is None
    with pytest.raises(InputError, match=r"none.png: in 2 batches no noisy image has 1% wrong pixels"):
        measure(workspace.fold_folder(), iterations=2, picture=tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_weights_of_plain_training_or_of_nothing_are_one_line(workspace, capsys):
    add_configuration(workspace.preprocessed, mlbseg=ONE_AND_ONE)
    train(trainer_of(workspace, "CleanOnly"))
    model = workspace.fold_folder(trainer="nnUNetTrainerMLBSegCleanOnly").parent
    for arguments, words in (
        (
            [str(model)],
            "no weights to judge in nnUNetTrainerMLBSegCleanOnly (training_labels is clean, plain training without "
            "weights), expected a training that bootstraps",
        ),
        ([str(model), "-f", "3"], "fold_3: no checkpoint, expected one of checkpoint_warmup.pth"),
        ([str(model), "--checkpoint", "checkpoint_other.pth"], "checkpoint_other.pth: no such file"),
        ([str(model), "--iterations", "0"], "--iterations is 0, expected 1 or more"),
    ):
        capsys.readouterr()
        assert main(["weights", *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error and "Traceback" not in error


def test_the_upper_bound_continues_without_the_raw_labels_and_only_with_its_own(workspace):
    """Trained by nnU-Net's command, which finds the variant; continued as nnU-Net's command does it."""
    workspace.env["MLBSEG_CONFIG"] = '{"warmup_epochs": 1, "epochs": 0}'
    done = workspace.train(trainer="nnUNetTrainerMLBSegNoNoise")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Preprocessing 4 of 4 true labels" in done.stdout and "Mean Validation Dice" in done.stdout
    folder = workspace.fold_folder(trainer="nnUNetTrainerMLBSegNoNoise")
    shutil.rmtree(workspace.raw / "labelsTr_true")
    trainer = trainer_of(workspace, "NoNoise")
    trainer.load_checkpoint(str(folder / "checkpoint_final.pth"))
    assert len(train(trainer)) == 3 * 3
    (folder / "true_labels" / "manifest.json").write_text('{"source": "other", "cases": ["n0", "n1", "u0", "u1"]}')
    again = trainer_of(workspace, "NoNoise")
    again.load_checkpoint(str(folder / "checkpoint_best.pth"))
    again.current_epoch = 1
    with pytest.raises(InputError, match="they are other ones, expected the true labels this checkpoint"):
        again.get_dataloaders()
