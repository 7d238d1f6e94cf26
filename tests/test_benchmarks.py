"""The benchmark scripts run and print their tables; what they measure is for people to read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import REPOSITORY
from conversion_sources import make_h5

pytestmark = pytest.mark.integration


def _run(script: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "ignore", str(REPOSITORY / "benchmarks" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_meta_reweighting():
    printed = _run("meta_reweighting.py", "--images", 1, "--size", 32, "--repeats", 1)
    assert len(re.findall(r"\d+\.\d+", printed)) >= 6


def test_metrics(tmp_path: Path):
    label = np.zeros((8, 24, 24), np.uint8)
    label[2:6, 5:18, 6:17] = 1
    sitk.WriteImage(sitk.GetImageFromArray(label), str(tmp_path / "a.nii.gz"))
    assert "a.nii.gz" in _run("metrics_time.py", "--repeats", 1, tmp_path / "a.nii.gz")


def test_conversion(tmp_path: Path):
    for number in range(2):
        make_h5(tmp_path / "h5", f"SCAN{number:02d}", seed=number)
    printed = _run("conversion.py", "--la", tmp_path / "h5", "--cases", 2)
    assert len(re.findall(r"\d+\.\d+", printed)) >= 2
