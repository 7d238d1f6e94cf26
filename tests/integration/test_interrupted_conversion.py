"""A conversion that is killed, or stopped by Ctrl-C, leaves nothing that looks finished; run again it completes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from conversion_sources import make_mhd


@pytest.mark.integration
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_conversion(tmp_path, nnunet_folders, signal_number):
    raw = tmp_path / "nnUNet_raw"
    for number in range(60):
        make_mhd(tmp_path / "p12", f"Case{number:02d}", seed=number)
    command = [sys.executable, "-m", "dataset_conversion.promise12", str(tmp_path / "p12"), "-d", "512"]
    command += ["--clean", "3", "--noise-level", "0.8", "-np", "2", "--size", "200x200"]
    process = subprocess.Popen(command, env=nnunet_folders, stderr=subprocess.DEVNULL, start_new_session=True)
    partial = raw / ".Dataset512_PROMISE12.partial" / "imagesTr"
    while not (partial.is_dir() and any(partial.iterdir())):
        assert process.poll() is None
        time.sleep(0.01)
    # Ctrl-C reaches the whole group of a terminal, a kill the one process.
    (os.killpg if signal_number == signal.SIGINT else os.kill)(process.pid, signal_number)
    assert process.wait(timeout=60) != 0
    assert list(raw.glob("Dataset*")) == []
    assert subprocess.run(command, env=nnunet_folders, stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert len(list((raw / "Dataset512_PROMISE12" / "imagesTr").iterdir())) == 60
    assert [path.name for path in raw.iterdir()] == ["Dataset512_PROMISE12"]
