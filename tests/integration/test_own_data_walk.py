"""Every command of docs/how-to/own-data.md runs, in order, on a dataset with the names of the page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from conversion_sources import make_nnunet

PAGE = REPOSITORY / "docs" / "how-to" / "own-data.md"
LABELLED = ["P01_a", "P01_b", *[f"P{number:02d}_a" for number in range(2, 13)]]


@pytest.mark.integration
def test_walk(tmp_path, nnunet_folders):
    dataset = make_nnunet(tmp_path / "nnUNet_raw" / "Dataset040_Prostate", LABELLED, shape=(6, 40, 48))
    archive = tmp_path / "archive"
    shutil.copytree(make_nnunet(tmp_path / "other", ["P77_a"], shape=(6, 42, 48)) / "imagesTr", archive)
    shutil.copy(dataset / "imagesTr" / "P03_a_0000.nii.gz", archive / "P88_a.nii.gz")
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    environment = {**nnunet_folders, "PATH": f"{Path(sys.executable).parent}:{nnunet_folders['PATH']}"}
    said = []
    for block in blocks:
        done = subprocess.run(
            ["bash", "-e", "-c", block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        said.append(done.stdout)
    assert "PROBLEM [duplicate image] the same image under different names: P03_a, P88_a; fold" in said[2]
    assert "Dataset540_Prostate: 15 cases, 1 problems, 0 warnings" in said[2]
    assert "Dataset540_Prostate: 14 cases, 0 problems, 0 warnings" in said[3]
    assert "0 problems" in said[4]
    assert "Dataset541_ProstateRehearsal: 13 cases, 0 problems, 0 warnings" in said[5]
