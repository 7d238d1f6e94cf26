"""Training, resuming, validating and predicting with nnU-Net's own commands on a tiny dataset."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from training_support import (
    IGNORE_LABEL,
    STOCK_FIELDS,
    SUPERVISION,
    TRAINER,
    Workspace,
    add_configuration,
    write_raw_dataset,
)

from dataset_conversion.supervision.files import Supervision, write_splits, write_supervision
from nnunetv2_mlbseg.methods.mlbseg.quantities import LOGGED
from nnunetv2_mlbseg.runtime.sole_use import sole_use
from nnunetv2_mlbseg.runtime.stop_request import EXIT_CODE as STOPPED

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw and preprocessed data, made once by nnU-Net's own command."""
    return Workspace.prepared(tmp_path_factory.mktemp("template")).root


@pytest.fixture
def workspace(template: Path, tmp_path: Path) -> Workspace:
    """A copy of the template that a test may spoil."""
    subprocess.run(["cp", "-r", f"{template}/.", str(tmp_path)], check=True)
    return Workspace(tmp_path)


@pytest.fixture(scope="module")
def trained(template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace after one undisturbed training, and its log."""
    root = tmp_path_factory.mktemp("trained")
    subprocess.run(["cp", "-r", f"{template}/.", str(root)], check=True)
    workspace = Workspace(root)
    done = workspace.train()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return workspace, done.stdout


def load(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=False)


def assert_equal_weights(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def test_all_stages_run_in_one_command(trained):
    workspace, log = trained
    assert log.count("Stage: warm-up, 3 iterations") == 2
    assert log.count("Stage: bootstrapping, 3 iterations") == 2
    assert "Log-odds added for the class shares of the clean cases (align_shares): " in log
    for least in ("0.00168", "0.00169"):  # 0.25 exp(-5), and after 3 of 10,000 iterations
        assert f"Stage: bootstrapping, 3 iterations, weight of generated labels {least} or more\n" in log
    assert "generated label 2 of 2: u1" in log
    assert "Mean Validation Dice" in log
    for words in (
        "loss terms: bootstrap",
        "views",
        "teacher",
        ", strong ",
        "supervised",
        "weight_imperfect",
        "share_pseudo",
    ):
        assert words in log
    assert "weight_generated" in log
    folder = workspace.fold_folder()
    names = {path.name for path in folder.iterdir()}
    assert {"checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_warmup.pth", "progress.png"} <= names
    log_file = json.loads((folder / "mlbseg_log.json").read_text())
    assert log_file["views"] == ["image", "zoom_in", "zoom_out", "zoom_out", "flip"] and log_file["warmup_epochs"] == 2
    by_view = log_file["values"]["weight_imperfect_by_view"]
    assert by_view[:2] == [None, None] and [len(values) for values in by_view[2:]] == [5, 5]
    assert "mlbseg_progress.png" in names and "checkpoint_latest.pth" not in names


def test_checkpoint_has_nnunets_fields_and_ours(trained):
    workspace, _ = trained
    final = load(workspace.fold_folder() / "checkpoint_final.pth")
    assert set(final) == STOCK_FIELDS | {"student_weights", "teacher_weights", "mlbseg"}
    assert final["trainer_name"] == TRAINER and final["current_epoch"] == 4
    assert_equal_weights(final["network_weights"], final["teacher_weights"])
    assert any(not torch.equal(final["student_weights"][k], v) for k, v in final["teacher_weights"].items())
    state = final["mlbseg"]
    assert state["ema_step"] == 12 and state["config"]["seed"] == 1
    assert set(state["epoch_log"]) == set(LOGGED.names)
    assert all(len(series) == 4 for series in state["epoch_log"].values())
    bootstrap = state["epoch_log"]["bootstrap"]
    assert bootstrap[:2] == [None, None] and np.isfinite(bootstrap[2:]).all()
    assert all(0 < value < 1 for value in state["epoch_log"]["weight_generated"][2:])
    assert state["shares"]["clean"].sum() > 0 and state["shares"]["pseudo"].sum() > 0
    manifest = json.loads((workspace.fold_folder() / "generated_labels" / "manifest.json").read_text())
    assert (1, len(manifest["bias"])) == state["shares"]["bias"].shape


def test_generated_labels_open_in_the_geometry_of_the_case(trained):
    workspace, _ = trained
    for case in SUPERVISION.unlabeled:
        label = sitk.ReadImage(str(workspace.fold_folder() / "generated_labels" / f"{case}.nii.gz"))
        image = sitk.ReadImage(str(workspace.raw / "imagesTr" / f"{case}_0000.nii.gz"))
        assert (label.GetSize(), label.GetSpacing(), label.GetOrigin()) == (
            image.GetSize(),
            image.GetSpacing(),
            image.GetOrigin(),
        )
        values = np.unique(sitk.GetArrayFromImage(label))
        assert set(values) <= {0, 1} and IGNORE_LABEL not in values


def test_validation_and_prediction_use_the_finished_network(trained, tmp_path):
    workspace, _ = trained
    validation = workspace.fold_folder() / "validation" / "summary.json"
    first = json.loads(validation.read_text())["foreground_mean"]["Dice"]
    again = workspace.train("--val")
    assert again.returncode == 0, again.stderr[-3000:]
    assert json.loads(validation.read_text())["foreground_mean"]["Dice"] == first
    images = tmp_path / "in"
    images.mkdir()
    (images / "v0_0000.nii.gz").symlink_to(workspace.raw / "imagesTr" / "v0_0000.nii.gz")
    arguments = ("-d", 900, "-i", images, "-c", "2d_tiny", "-f", 0, "-tr", TRAINER, "-device", "cpu")
    for name, options in (("final", ()), ("warmup", ("-chk", "checkpoint_warmup.pth"))):
        done = workspace.command("nnUNetv2_predict", *arguments, "-o", tmp_path / name, *options, "-npp", 1, "-nps", 1)
        assert done.returncode == 0, done.stderr[-3000:]
    read = [
        sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "v0.nii.gz")))
        for folder in (tmp_path / "final", workspace.fold_folder() / "validation")
    ]
    assert np.array_equal(read[0], read[1])


@pytest.mark.parametrize(
    ("words", "nth", "resumed_in"),
    [
        ("Stage: warm-up", 2, "Continuing in epoch 1, stage warm-up, EMA step 3"),
        ("generated label 1 of 2", 1, "Continuing in epoch 2, stage bootstrapping, EMA step 6"),
        ("Stage: bootstrapping", 2, "Continuing in epoch 3, stage bootstrapping, EMA step 9"),
    ],
)
def test_a_killed_training_goes_on_to_the_same_weights(trained, workspace, words, nth, resumed_in):
    workspace.kill_training(words, nth)
    done = workspace.train("--c")
    assert done.returncode == 0, done.stderr[-3000:]
    assert resumed_in in done.stdout
    if words.startswith("generated"):
        assert "generated label 2 of 2" in done.stdout and "generated label 1 of 2" not in done.stdout
    undisturbed = load(trained[0].fold_folder() / "checkpoint_final.pth")
    resumed = load(workspace.fold_folder() / "checkpoint_final.pth")
    assert resumed["mlbseg"]["ema_step"] == 12
    assert [len(series) for series in resumed["logging"].values()] == [4] * len(resumed["logging"])
    for field in ("student_weights", "teacher_weights"):
        assert_equal_weights(resumed[field], undisturbed[field])


def test_a_second_training_of_a_fold_is_refused_while_the_first_runs(workspace):
    fold = workspace.fold_folder()
    fold.mkdir(parents=True)
    (fold / "checkpoint_latest.pth").write_bytes(b"of the first")
    with sole_use(fold, "training"):
        done = workspace.train()
    assert done.returncode and done.stderr.splitlines()[-1].endswith(
        f"{fold}: another training works in it; wait for its end, or end it"
    )
    assert (fold / "checkpoint_latest.pth").read_bytes() == b"of the first"


def _train_in_two_processes(workspace: Workspace, *options: str, until: str | None = None) -> str:
    """nnU-Net's function for one process of several, over gloo; SIGKILL all when ``until`` is printed."""
    program = str(Path(__file__).parents[1] / "support" / "two_processes.py")
    command = [sys.executable, "-W", "ignore", program, "train", "2", "900", "2d_tiny", "0", TRAINER, *options]
    env = {**workspace.env, "nnUNet_n_proc_DA": "0", "MLBSEG_CONFIG": '{"imperfect_batch_size": 3}'}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    with subprocess.Popen(command, env=env, **pipes) as process:
        log = ""
        for line in process.stdout:
            log += line
            if until and until in line:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == (-signal.SIGKILL if until else 0), log[-3000:]
    return log


def test_two_processes_train_validate_and_continue(workspace, tmp_path_factory):
    """Shares of 2 and 1 imperfect images; the labels of one unlabeled case come from each process."""
    other = Workspace(tmp_path_factory.mktemp("killed"))
    subprocess.run(["cp", "-r", f"{workspace.root}/.", str(other.root)], check=True)
    log = _train_in_two_processes(workspace)
    assert log.count("generated label 1 of 1: u0") == log.count("generated label 1 of 1: u1") == 1
    assert "Mean Validation Dice" in log and "loss terms: bootstrap" in log
    labels = workspace.fold_folder() / "generated_labels"
    assert [path.name for path in labels.glob("manifest*")] == ["manifest.json"]
    assert json.loads((labels / "manifest.json").read_text())["cases"] == ["u0", "u1"]
    undisturbed = load(workspace.fold_folder() / "checkpoint_final.pth")
    assert undisturbed["mlbseg"]["ema_step"] == 12
    assert np.isfinite(undisturbed["mlbseg"]["epoch_log"]["warmup"][:2]).all()

    _train_in_two_processes(other, until="Stage: bootstrapping")
    assert "Continuing in epoch 2, stage bootstrapping" in _train_in_two_processes(other, "--c")
    resumed = load(other.fold_folder() / "checkpoint_final.pth")
    for field in ("student_weights", "teacher_weights"):
        assert_equal_weights(resumed[field], undisturbed[field])


def test_continuing_with_other_roles_is_refused_and_with_other_settings_said(trained, workspace):
    workspace.kill_training("Stage: bootstrapping", 2)
    done = workspace.train("--c", MLBSEG_CONFIG='{"momentum": 0.5}')
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Configuration changed since the checkpoint (now, then): {'momentum': (0.5, 0.99)}" in done.stdout
    final = load(workspace.fold_folder() / "checkpoint_final.pth")
    assert final["optimizer_state"]["param_groups"][0]["momentum"] == 0.5
    write_supervision(workspace.raw, Supervision(("c0",), ("c1", "n0", "n1"), SUPERVISION.unlabeled))
    done = workspace.train("--c")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "the clean, noisy cases are not those the checkpoint was trained with" in done.stderr


def test_a_signal_to_all_processes_of_a_training_with_workers(workspace, tmp_path):
    """As schedulers send it: the workers die first. The training still saves, leaves no process, and goes on."""
    workspace.env["MLBSEG_CONFIG"] = '{"epochs": 500, "iterations_per_epoch": 20}'
    script = Path(sys.executable).parent / "nnUNetv2_train"
    command = [str(script), "900", "2d_tiny", "0", "-tr", TRAINER, "-device", "cpu"]
    env = {**workspace.env, "nnUNet_n_proc_DA": "1"}
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, env=env, stdout=file, stderr=file, start_new_session=True)
    until = time.monotonic() + 200
    while "Stage: bootstrapping" not in log.read_text():
        assert process.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(30) == STOPPED, log.read_text()[-3000:]
    assert "Stopped by SIGTERM in epoch" in log.read_text() and "Traceback" not in log.read_text()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    latest = load(workspace.fold_folder() / "checkpoint_latest.pth")
    assert latest["mlbseg"]["stage"] == "bootstrapping"
    left = latest["current_epoch"] + 1 - 2  # two epochs of warm-up; the present one is to be the last
    workspace.env["MLBSEG_CONFIG"] = f'{{"epochs": {left}, "iterations_per_epoch": 20}}'
    done = workspace.train("--c")
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Continuing in epoch {latest['current_epoch']}, stage bootstrapping" in done.stdout
    final = load(workspace.fold_folder() / "checkpoint_final.pth")
    assert final["mlbseg"]["ema_step"] == 20 * (left + 2) and len(final["logging"]["train_losses"]) == left + 2


def _put_nan_into(workspace: Workspace, cases: str) -> None:
    code = (
        "import os, sys, numpy as np\n"
        "from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2 as D\n"
        "folder = sys.argv[1]\n"
        "for case in sys.argv[2].split():\n"
        "    d, s, _, p = D(folder, [case]).load_case(case)\n"
        "    d, s = np.array(d[:]), np.array(s[:])\n"
        "    d[:, 2:4] = np.nan\n"
        "    for ending in ('.b2nd', '_seg.b2nd'): os.remove(f'{folder}/{case}{ending}')\n"
        "    D.save_case(d, s, p, f'{folder}/{case}', chunks=None, blocks=None)\n"
    )
    folder = workspace.preprocessed / "nnUNetPlans_2d"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(folder), cases], check=True, env=workspace.env)


def test_nan_in_a_case_is_counted_and_enters_no_network(workspace):
    _put_nan_into(workspace, "c1 n0")
    done = workspace.train(MLBSEG_CONFIG='{"verify_data": false, "iterations_per_epoch": 6}')
    assert done.returncode == 0, done.stderr[-3000:]
    final = load(workspace.fold_folder() / "checkpoint_final.pth")
    for field in ("student_weights", "teacher_weights"):
        assert all(torch.isfinite(value).all() for value in final[field].values())
    assert max(final["mlbseg"]["epoch_log"]["skipped"]) > 0
    momentum = [state["momentum_buffer"] for state in final["optimizer_state"]["state"].values()]
    assert momentum and all(torch.isfinite(value).all() for value in momentum)


def test_a_training_that_only_skips_stops_with_a_reason(workspace):
    _put_nan_into(workspace, "c0 c1")
    done = workspace.train(MLBSEG_CONFIG='{"verify_data": false, "iterations_per_epoch": 40}')
    assert done.returncode == 1 and "Traceback" not in done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("mlbseg: error:"))
    assert "of 40 steps were left out because loss or gradient were not finite" in line
    for path in workspace.fold_folder().glob("checkpoint_*.pth"):
        assert all(torch.isfinite(value).all() for value in load(path)["student_weights"].values())


def test_worker_processes_serve_both_batches(workspace):
    done = workspace.train(nnUNet_n_proc_DA="1")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "loss terms: bootstrap" in done.stdout


def test_paper_preset_trains_without_raw_folder_once_copies_exist(workspace):
    settings = '{"preset": "paper", "warmup_epochs": 1, "epochs": 1, "iterations_per_epoch": null}'
    workspace.env["MLBSEG_CONFIG"] = settings
    assert workspace.train().returncode == 0
    del workspace.env["nnUNet_raw"]
    done = workspace.train()
    assert done.returncode == 0, done.stderr[-3000:]
    # 2 clean cases of 5 slices at batch size 16; 4 imperfect ones at batch size max(1, 4 // 5)
    assert "Stage: warm-up, 1 iterations" in done.stdout
    assert "Stage: bootstrapping, 20 iterations, weight of generated labels 1\n" in done.stdout
    final = load(workspace.fold_folder() / "checkpoint_final.pth")
    assert_equal_weights(final["network_weights"], final["student_weights"])


def test_pretrained_weights_start_student_and_teacher_and_name_what_stays(trained, workspace):
    donor = trained[0].fold_folder() / "checkpoint_final.pth"
    done = workspace.train("-pretrained_weights", donor)
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if "Pretrained weights:" in line)
    assert "decoder.seg_layers.0.weight" in line
    assert "encoder" not in line.split("Unchanged:")[1]


def test_own_external_trainers_keep_working(workspace, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.py").write_text(
        "from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg\n"
        "class nnUNetTrainerMine(nnUNetTrainerMLBSeg):\n    variant = {'weighting': 'uniform', 'epochs': 1}\n"
    )
    done = workspace.train(trainer="nnUNetTrainerMine", nnUNet_extTrainer=str(own))
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'weighting': 'uniform'" in done.stdout
    assert workspace.train(nnUNet_extTrainer=str(own)).returncode == 0


def test_four_classes_and_partly_ignored_labels_train(tmp_path):
    workspace = Workspace(tmp_path)
    folder = write_raw_dataset(tmp_path / "raw", classes=3)
    for case in SUPERVISION.noisy:
        path = str(folder / "labelsTr" / f"{case}.nii.gz")
        image = sitk.ReadImage(path)
        label = sitk.GetArrayFromImage(image)
        label[:, ::2] = 4
        partial = sitk.GetImageFromArray(label)
        partial.CopyInformation(image)
        sitk.WriteImage(partial, path)
    workspace.plan_and_preprocess()
    add_configuration(workspace.preprocessed)
    done = workspace.train()
    assert done.returncode == 0, done.stderr[-3000:]
    log = load(workspace.fold_folder() / "checkpoint_final.pth")["mlbseg"]["epoch_log"]
    assert np.isfinite(log["bootstrap"][2:]).all()


def _no_clean(w: Workspace) -> None:
    write_supervision(w.raw, Supervision(clean=(), noisy=("c0", "c1", "n0", "n1"), unlabeled=SUPERVISION.unlabeled))


def _two_roles(w: Workspace) -> None:
    write_supervision(w.raw, Supervision(SUPERVISION.clean, ("n0", "n1", "c1"), SUPERVISION.unlabeled))


def _unknown_case(w: Workspace) -> None:
    write_supervision(w.raw, Supervision(SUPERVISION.clean, ("n0", "n1", "ghost"), SUPERVISION.unlabeled))


def _without_role(w: Workspace) -> None:
    write_supervision(w.raw, Supervision(SUPERVISION.clean, ("n0",), SUPERVISION.unlabeled))


def _noisy_validation(w: Workspace) -> None:
    write_splits(w.raw, [{"train": ["c0", "c1", "n0", "u0", "u1"], "val": ["n1"]}])


def _no_files(w: Workspace) -> None:
    subprocess.run(["rm", "-r", str(w.raw / "supervision")], check=True)


def _bad_json(w: Workspace) -> None:
    (w.raw / "supervision" / "noisy.json").write_text('["n0", ')


def _foreign_split(w: Workspace) -> None:
    write_splits(w.preprocessed, [{"train": ["c0"], "val": ["v0"]}])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_clean, "no clean case"),
        (_two_roles, "case in both clean.json and noisy.json: c1"),
        (_unknown_case, "does not exist in the preprocessed data: ghost"),
        (_without_role, "training case without a role in supervision/: n1"),
        (_noisy_validation, "validation case that is noisy (validation needs true labels): n1"),
        (_no_files, "mlbseg split"),
        (_bad_json, "noisy.json: not valid JSON"),
        (_foreign_split, "delete or rename the first file to use the second"),
    ],
)
def test_bad_supervision_is_one_line_and_leaves_nothing(workspace, spoil: Callable[[Workspace], None], words):
    spoil(workspace)
    done = workspace.train()
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("mlbseg: error:")]
    assert len(errors) == 1 and words in errors[0]
    assert "Traceback" not in done.stderr
    assert not list((workspace.root / "results").rglob("*"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"MLBSEG_CONFIG": '{"epoch": 3}'}, "unknown configuration key 'epoch'; did you mean 'epochs'?"),
        ({"fold": "3"}, "got fold 3, expected 0 to 0 or all"),
    ],
)
def test_bad_settings_are_one_line(workspace, settings, words):
    done = workspace.train(**settings)
    assert done.returncode != 0
    assert words in done.stderr and "Traceback" not in done.stderr


def _spoil_preprocessed(workspace: Workspace) -> Iterator[str]:
    code = (
        "import sys, numpy as np, blosc2\n"
        "from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2 as D\n"
        "import shutil\n"
        "folder = sys.argv[1]\n"
        "for case, change in (('n0', 'nan'), ('c0', 'value'), ('n1', 'shape')):\n"
        "    d, s, _, p = D(folder, [case]).load_case(case)\n"
        "    d, s = np.array(d[:]), np.array(s[:])\n"
        "    if change == 'nan': d[0, 0, 0, 0] = np.nan\n"
        "    if change == 'value': s[0, 0, 0, 0] = 7\n"
        "    if change == 'shape': s = s[:, :-1]\n"
        "    import os\n"
        "    for ending in ('.b2nd', '_seg.b2nd'): os.remove(f'{folder}/{case}{ending}')\n"
        "    D.save_case(d, s, p, f'{folder}/{case}', chunks=None, blocks=None)\n"
    )
    folder = workspace.preprocessed / "nnUNetPlans_2d"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(folder)], check=True, env=workspace.env)
    (folder / "u0_seg.b2nd").write_bytes(b"")
    yield from ("n0: image has NaN", "c0: label has the values [7]", "n1: image is", "u0: cannot be read")


def test_spoilt_preprocessed_cases_are_all_named_before_the_first_epoch(workspace):
    expected = list(_spoil_preprocessed(workspace))
    done = workspace.train()
    assert done.returncode != 0 and "Traceback" not in done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("mlbseg: error:"))
    assert "4 problem(s)" in line
    for words in expected:
        assert words in line
    assert "Epoch 0" not in done.stdout


def test_a_checkpoint_of_another_trainer_is_refused_in_one_line(trained, workspace):
    foreign = load(trained[0].fold_folder() / "checkpoint_final.pth")
    for field in ("student_weights", "teacher_weights", "mlbseg"):
        del foreign[field]
    workspace.fold_folder().mkdir(parents=True)
    torch.save({**foreign, "trainer_name": "nnUNetTrainer"}, workspace.fold_folder() / "checkpoint_latest.pth")
    done = workspace.train("--c")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "written by nnUNetTrainer" in done.stderr
