"""``mlbseg doctor`` where nnU-Net finds the trainers, and where it does not."""

from __future__ import annotations

import os

import pytest

from nnunetv2_mlbseg.cli import doctor
from nnunetv2_mlbseg.extension_path import VARIABLE

pytestmark = pytest.mark.integration


def test_a_missing_plugin_folder_is_a_problem_that_says_what_to_do(monkeypatch):
    monkeypatch.setenv(VARIABLE, os.sep + "nowhere")
    monkeypatch.setattr(doctor, "FIND_TRAINER", doctor.FIND_TRAINER.replace(doctor.TRAINER, "nnUNetTrainerNowhere"))
    (problem,) = [finding for finding in doctor.trainer() if finding.remedy]
    assert "Could not find requested nnunet trainer nnUNetTrainerNowhere" in problem.text
    assert "run pip install . again" in problem.remedy


def test_the_installed_command_finds_the_trainer(nnunet_folders, run_command):
    result = run_command("mlbseg", "doctor", env=nnunet_folders)
    assert "OK       nnU-Net finds nnUNetTrainerMLBSeg (in nnunetv2_mlbseg.trainers.mlbseg)" in result.stdout
    assert result.returncode == 0, result.stdout
