"""One process at a time in a folder, whichever way it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nnunetv2_mlbseg.runtime.sole_use import sole_use
from noise_synthesis.safe_io.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from nnunetv2_mlbseg.runtime.sole_use import sole_use
with sole_use(Path(sys.argv[1]), "training"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that works in the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_process_is_refused_until_the_first_is_gone(tmp_path, holder):
    with pytest.raises(InputError, match=f"^{tmp_path}: another training works in it; wait for its end"):  # noqa: SIM117
        with sole_use(tmp_path, "training"):
            pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with sole_use(tmp_path, "training"):
        pass


def test_a_child_of_the_process_does_not_hold_the_folder(tmp_path):
    with sole_use(tmp_path, "training"):
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
    try:
        code = HOLD.replace("time.sleep(600)", "pass")
        assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 0
    finally:
        child.kill()
        child.wait()


def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with sole_use(tmp_path, "training"):
        assert Path(tmp_path).is_dir()
