"""``mlbseg plan``: what it writes, what it leaves alone, what it refuses, and what it says to type next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planned_dataset import example_plans, write_planned

from nnunetv2_mlbseg.cli.main import main

SMALL = "nnUNetPlansSmall.json"


@pytest.fixture
def folder(nnunet_folders) -> Path:
    """The preprocessed folder of a planned dataset."""
    return write_planned(Path(nnunet_folders["nnUNet_preprocessed"]))


def plan(*arguments: object) -> int:
    return main(["plan", "540", *map(str, arguments)])


def refusal(capsys, *arguments: object) -> str:
    """The one line of a refusal."""
    assert plan(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_plans_differ_from_nnunets_in_name_patch_batch_network_and_schedule(folder):
    before = (folder / "nnUNetPlans.json").read_bytes()
    sizes = ("--patch", "64x48", "--features", "4,8,8", "--batch", 6)
    assert plan(*sizes, "--warmup-epochs", 2, "--epochs", 3, "--iterations", 4, "--config", '{"momentum": 0.5}') == 0
    found, planned = json.loads((folder / SMALL).read_text()), example_plans()
    assert (folder / "nnUNetPlans.json").read_bytes() == before
    (configuration,) = found.pop("configurations").values()
    assert found == {
        "dataset_name": "Dataset540_Own",
        "plans_name": "nnUNetPlansSmall",
        "transpose_forward": [0, 1, 2],
        "mlbseg_made_from": "nnUNetPlans, 2d",
    }
    settings, network = configuration.pop("mlbseg"), configuration.pop("architecture")["arch_kwargs"]
    untouched = {key: planned["configurations"]["2d"][key] for key in ("data_identifier", "spacing")}
    assert configuration == {**untouched, "patch_size": [64, 48], "batch_size": 6}
    assert network["features_per_stage"] == [4, 8, 8] and network["n_stages"] == 3
    assert settings == {
        "warmup_epochs": 2,
        "epochs": 3,
        "iterations_per_epoch": 4,
        "val_iterations_per_epoch": 10,
        "ema_decay": 0.99,
        "imperfect_batch_size": 3,
        "momentum": 0.5,
    }


def test_by_itself_it_limits_what_was_planned(folder):
    assert plan() == 0
    configuration = json.loads((folder / SMALL).read_text())["configurations"]["2d"]
    assert configuration["patch_size"] == [128, 96] and configuration["batch_size"] == 8
    assert configuration["architecture"]["arch_kwargs"]["features_per_stage"] == [16, 32, 64, 128]


def test_settings_that_the_plan_has_stay_where_the_schedule_says_nothing(nnunet_folders):
    plans = example_plans()
    plans["configurations"]["2d"]["mlbseg"] = {"patient_regex": "^(P[0-9]+)", "epochs": 800}
    folder = write_planned(Path(nnunet_folders["nnUNet_preprocessed"]), plans)
    assert plan() == 0
    settings = json.loads((folder / SMALL).read_text())["configurations"]["2d"]["mlbseg"]
    assert settings["patient_regex"] == "^(P[0-9]+)" and settings["epochs"] == 20


def test_it_prints_the_commands_that_follow(folder, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert plan("--name", "Tiny") == 0
    first, _, _, *commands = capsys.readouterr().out.splitlines()
    assert first == f"{folder}/Tiny.json: 2d with patches of 128 x 96, batches of 8, features 16, 32, 64, 128"
    assert commands == [
        "  nnUNetv2_preprocess -d 540 -plans_name Tiny -c 2d",
        "  nnUNetv2_train 540 2d 0 -tr nnUNetTrainerMLBSeg -p Tiny",
        "  nnUNetv2_predict -d 540 -i IN -o OUT -c 2d -f 0 -tr nnUNetTrainerMLBSeg -p Tiny",
    ]


def test_data_that_is_preprocessed_is_used_and_without_a_gpu_the_commands_say_so(folder, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (folder / "nnUNetPlans_2d").mkdir()
    (folder / "nnUNetPlans_2d" / "a.pkl").touch()
    assert plan() == 0
    commands = capsys.readouterr().out.partition("Next:\n")[2].splitlines()
    assert [line.split()[0] for line in commands] == ["nnUNetv2_train", "nnUNetv2_predict"]
    assert all(line.endswith(" -device cpu") for line in commands)


def test_in_3d_network_patch_and_batch_are_small_too(folder, capsys):
    assert plan("-c", "3d_fullres", "--epochs", 3) == 0
    configuration = json.loads((folder / SMALL).read_text())["configurations"]["3d_fullres"]
    assert configuration["patch_size"] == [64, 64, 32] and configuration["batch_size"] == 2
    assert "next_stage" not in configuration and configuration["mlbseg"]["epochs"] == 3
    assert "nnUNetv2_train 540 3d_fullres 0 -tr nnUNetTrainerMLBSeg -p nnUNetPlansSmall" in capsys.readouterr().out


def test_only_its_own_plans_are_replaced_and_only_with_force(folder, capsys):
    assert plan() == 0
    assert "exists already; --force replaces it, --name writes another one" in refusal(capsys, "--batch", 2)
    assert plan("--batch", 2, "--force") == 0
    assert json.loads((folder / SMALL).read_text())["configurations"]["2d"]["batch_size"] == 2
    (folder / "nnUNetResEncUNetMPlans.json").write_text((folder / "nnUNetPlans.json").read_text())
    for name in ("dataset", "nnUNetResEncUNetMPlans"):
        assert "was not written by mlbseg plan and is not replaced" in refusal(capsys, "--name", name, "--force")
    assert "are the plans to start from, expected another" in refusal(capsys, "--name", "nnUNetPlans", "--force")
    assert json.loads((folder / "nnUNetPlans.json").read_text()) == example_plans()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--name", "a__b"), "--name a__b: expected letters, digits"),
        (("--patch", "66x64"), "patch size is 66 x 64, expected multiples of 8 x 8"),
        (("--features", "4,8"), "plans a network of 2 stages, expected at least 3 with deep supervision"),
        (("--batch", 0), "--batch is 0, expected 1 or more"),
        (("--epochs", -1), "the schedule: epochs is -1, expected a whole number, 0 or more"),
        (("--config", '{"epoch": 2}'), "unknown configuration key 'epoch'; did you mean 'epochs'?"),
        (("--epochs", 2, "--config", '{"epochs": 2}'), "epochs: given by an option and in --config"),
        (("--warmup-epochs", 0, "--epochs", 0), "warmup_epochs and epochs are both 0"),
        (("-c", "3d_cascade_fullres"), "part of a cascade"),
        (("-c", "3d_lowres"), "no configuration 3d_lowres in the plans, expected one of 2d, 3d_fullres"),
        (("--from", "Foo"), "no Foo.json in "),
    ],
)
def test_what_cannot_train_is_refused_in_a_line_and_nothing_is_written(folder, capsys, arguments, message):
    assert message in refusal(capsys, *arguments)
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "nnUNetPlans.json"]


def test_two_stages_are_enough_without_deep_supervision(folder):
    assert plan("--features", "4,8", "--config", '{"deep_supervision": false}') == 0


def test_a_dataset_that_is_not_planned_is_told_how(nnunet_folders, capsys):
    assert "plan it with nnUNetv2_plan_and_preprocess -d 540 -c 2d" in refusal(capsys)
