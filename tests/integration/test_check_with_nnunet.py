"""``mlbseg check`` joins the findings of nnU-Net's own integrity check to its report."""

from __future__ import annotations

from pathlib import Path

import pytest
from checked_dataset import change, label, sound_dataset

from nnunetv2_mlbseg.cli.main import main


@pytest.mark.integration
def test_nnunet_joins_the_report(nnunet_folders, capsys):
    dataset = sound_dataset(Path(nnunet_folders["nnUNet_raw"]))
    assert main(["check", "40", "-np", "2"]) == 0
    change(label(dataset, "p1"), lambda a: a * 7)
    assert main(["check", "40", "-np", "2"]) == 1
    report = capsys.readouterr().out
    assert "PROBLEM [nnU-Net] Error: Unexpected labels found in file" in report
    assert "PROBLEM [nnU-Net] nnU-Net's integrity check failed: RuntimeError: Some segmentation images" in report
