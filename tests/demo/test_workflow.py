"""The parts of ``mlbseg demo``: its configuration, its table, its progress, its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planned_dataset import write_planned

from nnunetv2_mlbseg.cli.demo import working_folder
from nnunetv2_mlbseg.cli.main import main
from nnunetv2_mlbseg.demo.workflow import (
    CONFIGURATION,
    DATASET_ID,
    FEATURES_PER_STAGE,
    NETWORKS,
    PLANS,
    TRAINING,
    TrainingProgress,
    preprocess,
    table,
)
from noise_synthesis.safe_io.errors import InputError


def test_the_plans_of_the_demo_are_the_commands_with_all_its_settings(nnunet_folders):
    """The command runs for real; nnU-Net's is left out."""
    folder = write_planned(Path(nnunet_folders["nnUNet_preprocessed"]))
    typed = []

    class Run:
        headline = staticmethod(lambda text: None)

        def __call__(self, name, *arguments, **variables):
            typed.append((name, variables))
            if name == "mlbseg":
                words = ["540" if word == DATASET_ID else str(word) for word in arguments]
                assert main(words) == 0

    preprocess(Run(), folder.parent)
    assert typed == [("nnUNetv2_plan_and_preprocess", {"nnUNet_n_proc_DA": "2"}), ("mlbseg", {})]
    small = json.loads((folder / f"{PLANS}.json").read_text())["configurations"][CONFIGURATION]
    assert small["mlbseg"] == TRAINING
    assert small["architecture"]["arch_kwargs"]["features_per_stage"] == list(FEATURES_PER_STAGE)


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
