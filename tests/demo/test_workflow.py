"""The parts of ``mlbseg demo``: its configuration, its table, its progress, its folder."""

from __future__ import annotations

import pytest

from nnunetv2_mlbseg.cli.demo import working_folder
from nnunetv2_mlbseg.demo.workflow import (
    FEATURES_PER_STAGE,
    NETWORKS,
    TrainingProgress,
    table,
    with_small_configuration,
)
from noise_synthesis.safe_io.errors import InputError

PLANS = {
    "configurations": {
        "2d": {
            "patch_size": [64, 64],
            "architecture": {
                "network_class_name": "X",
                "arch_kwargs": {
                    "n_stages": 6,
                    "features_per_stage": [32] * 6,
                    "kernel_sizes": [[3, 3]] * 6,
                    "strides": [[1, 1]] + [[2, 2]] * 5,
                    "n_conv_per_stage": [2] * 6,
                    "n_conv_per_stage_decoder": [2] * 5,
                },
            },
        }
    }
}


def test_the_small_configuration_has_a_consistent_architecture_and_leaves_2d_alone():
    small = with_small_configuration(PLANS)["configurations"]["2d_demo"]
    arguments, stages = small["architecture"]["arch_kwargs"], len(FEATURES_PER_STAGE)
    assert small["inherits_from"] == "2d"
    assert arguments["n_stages"] == stages
    for key in ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage"):
        assert len(arguments[key]) == stages
    assert len(arguments["n_conv_per_stage_decoder"]) == stages - 1
    assert PLANS["configurations"]["2d"]["architecture"]["arch_kwargs"]["n_stages"] == 6


def test_the_configuration_of_the_method_is_valid():
    from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
    from nnunetv2_mlbseg.settings.overrides import resolve

    settings = with_small_configuration(PLANS)["configurations"]["2d_demo"]["mlbseg"]
    resolved = resolve(MLBSegSettings, settings).as_dict()
    assert {key: resolved[key] for key in settings} == settings


def test_the_table_has_a_line_per_network_and_a_dash_for_no_value():
    results = {name: {"dice": 0.5, "jaccard": 0.25, "hd95_mm": 2.0, "asd_mm": None} for name in NETWORKS}
    heading, *lines = table(results)
    assert heading.split() == ["network", "Dice", "%", "Jaccard", "%", "HD95", "mm", "ASD", "mm"]
    assert [line.split()[-4:] for line in lines] == [["50.00", "25.00", "2.00", "-"]] * 3


def test_progress_of_the_training_is_its_epoch_and_stage():
    show = TrainingProgress()
    stamp = "2026-01-02 03:04:05.678901: "
    lines = ["Epoch 3", "Current learning rate: 0.01", "Stage: warm-up, 30 iterations", "Epoch time: 3.2 s"]
    assert [show(stamp + line) for line in lines] == ["", "", f"epoch 4 of {show.epochs}: warm-up", ""]
    assert show(stamp + "generated label 2 of 10: scan_02") == "generated label 2 of 10: scan_02"


def test_a_folder_of_someone_elses_is_never_emptied(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    for force, message in ((False, "is not empty; --force empties it first"), (True, "so it is not emptied")):
        with pytest.raises(InputError, match=message), working_folder(tmp_path, force):
            pass
    assert (tmp_path / "thesis.tex").exists()


def test_a_former_demo_is_replaced_with_force(tmp_path):
    for name in ("logs", "scans"):
        (tmp_path / "out" / name).mkdir(parents=True)
    with working_folder(tmp_path / "out", force=True) as folder:
        assert list(folder.iterdir()) == []


def test_without_a_folder_nothing_is_left_even_after_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), working_folder(None, force=False) as folder:
        (folder / "scans").mkdir()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
