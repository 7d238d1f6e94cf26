"""``mlbseg export`` writes what a stock nnU-Net reads, and nothing that needs this package."""

from __future__ import annotations

import json
import pickletools
import shlex
import zipfile
from pathlib import Path

import pytest
import torch

from nnunetv2_mlbseg.cli.main import main
from nnunetv2_mlbseg.progress import checkpoint

PLANS = {"dataset_name": "Dataset501_X", "configurations": {"2d": {"patch_size": [8, 8], "mlbseg": {"epochs": 3}}}}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two trained folds whose networks are told apart by their only weight: 1 student, 2 teacher."""
    folder = tmp_path / "nnUNetTrainerMLBSeg__nnUNetPlans__2d"
    for fold in ("fold_0", "fold_1"):
        (folder / fold).mkdir(parents=True)
        fields = {
            "network_weights": {"w": torch.tensor(2.0)},
            "student_weights": {"w": torch.tensor(1.0)},
            "teacher_weights": {"w": torch.tensor(2.0)},
            "optimizer_state": {"state": torch.ones(5)},
            "trainer_name": "nnUNetTrainerMLBSeg",
            "init_args": {"plans": PLANS, "configuration": "2d", "fold": 0},
            "inference_allowed_mirroring_axes": (0, 1),
            "current_epoch": 4,
            "mlbseg": {"config": {}},
        }
        checkpoint.write(fields, folder / fold / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(PLANS))
    (folder / "dataset.json").write_text('{"labels": {"background": 0}}')
    return folder


@pytest.mark.parametrize(("options", "weight"), [([], 2), (["--network", "student"], 1), (["--network", "teacher"], 2)])
def test_the_chosen_network_is_written_under_the_stock_trainers_name(model, tmp_path, options, weight, capsys):
    assert main(["export", str(model), str(tmp_path / "out"), *options]) == 0
    assert f"-m {tmp_path / 'out'} -f 0 1\n" in capsys.readouterr().out
    for fold in ("fold_0", "fold_1"):
        found = torch.load(tmp_path / "out" / fold / "checkpoint_final.pth", weights_only=True)
        assert found["network_weights"]["w"] == weight
        assert found["trainer_name"] == "nnUNetTrainer"
        assert set(found) == {
            "network_weights", "trainer_name", "init_args", "inference_allowed_mirroring_axes", "current_epoch",
        }  # fmt: skip
        assert found["init_args"]["plans"]["configurations"]["2d"] == {"patch_size": [8, 8]}
    assert json.loads((tmp_path / "out" / "plans.json").read_text())["configurations"]["2d"] == {"patch_size": [8, 8]}
    assert (tmp_path / "out" / "dataset.json").read_bytes() == (model / "dataset.json").read_bytes()


def test_a_path_with_spaces_can_be_pasted(model, tmp_path, capsys):
    assert main(["export", str(model), str(tmp_path / "out of it")]) == 0
    *_, command = capsys.readouterr().out.strip().partition("Predict with it: ")
    assert shlex.split(command)[-4:] == [str(tmp_path / "out of it"), "-f", "0", "1"]


def test_the_pickle_names_no_module_of_ours(model, tmp_path):
    main(["export", str(model), str(tmp_path / "out")])
    with zipfile.ZipFile(tmp_path / "out" / "fold_0" / "checkpoint_final.pth") as archive:
        data = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    arguments = [str(argument) for _, argument, _ in pickletools.genops(data)]
    assert not [argument for argument in arguments if "nnunetv2_mlbseg" in argument or "noise_synthesis" in argument]


def test_a_former_export_is_replaced_with_force_only(model, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["export", str(model), out]) == 0
    assert main(["export", str(model), out]) == 2
    assert "replace it with --force" in capsys.readouterr().err
    assert main(["export", str(model), out, "--network", "student", "--force"]) == 0
    found = torch.load(tmp_path / "out" / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert found["network_weights"]["w"] == 1


def test_nobodys_other_data_is_replaced(model, tmp_path, capsys):
    """Neither a folder that is no export nor the model itself, however it is named."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    assert main(["export", str(model), str(tmp_path / "out"), "--force"]) == 2
    assert "--force replaces only a folder that holds plans.json" in capsys.readouterr().err
    assert (tmp_path / "out" / "mine").read_text() == "x"
    for place in (model, model / "fold_0", model / ".." / model.name, tmp_path):
        assert main(["export", str(model), str(place), "--force"]) == 2
        assert "expected a folder apart from the model" in capsys.readouterr().err
    assert (model / "fold_0" / "checkpoint_final.pth").is_file()


def test_a_failure_leaves_nothing_behind(model, tmp_path, capsys):
    (model / "fold_1" / "checkpoint_final.pth").write_bytes(b"broken")
    assert main(["export", str(model), str(tmp_path / "out")]) == 2
    assert "cannot be read as a checkpoint" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [model.name]


def test_a_network_that_a_stock_nnunet_cannot_build_is_refused(model, tmp_path, capsys):
    path = model / "fold_1" / "checkpoint_final.pth"
    found = torch.load(path, weights_only=True)
    found["trainer_name"], found["mlbseg"]["own_network"] = "nnUNetTrainerMLBSegUNetPlusPlus", True
    torch.save(found, path)
    assert main(["export", str(model), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "nnUNetTrainerMLBSegUNetPlusPlus builds a network of its own" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_another_folder_or_checkpoint_is_refused(model, tmp_path, capsys):
    assert main(["export", str(tmp_path), str(tmp_path / "out")]) == 2
    assert "no plans.json; expected a folder such as" in capsys.readouterr().err
    assert main(["export", str(model), str(tmp_path / "out"), "--checkpoint", "checkpoint_best.pth"]) == 2
    assert "no fold has checkpoint_best.pth" in capsys.readouterr().err
