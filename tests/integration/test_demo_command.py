"""``mlbseg demo`` as a user runs it, to its end and up to Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nnunetv2_mlbseg.cli.demo import PICTURE
from nnunetv2_mlbseg.demo.workflow import NETWORKS

pytestmark = pytest.mark.integration


@pytest.fixture
def place(tmp_path_factory) -> Path:
    """A folder with a short name: sockets of worker processes lie in its ``tmp``, and their paths have 107 bytes."""
    return tmp_path_factory.mktemp("demo")


def start_demo(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    (cwd / "tmp").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("nnUNet_")} | {"TMPDIR": str(cwd / "tmp")}
    command = [str(Path(sys.executable).parent / "mlbseg"), "demo", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=cwd, env=environment, text=True, **pipes)


def test_the_demo_ends_in_a_table_and_leaves_a_picture_and_nothing_else(place):
    out, err = (process := start_demo(place)).communicate(timeout=1500)
    assert process.returncode == 0, out[-2000:] + err[-2000:]
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("network "))
    scores = {line.split("  ")[0]: float(line.split()[-4]) for line in lines[start + 1 : start + 4]}
    assert set(scores) == set(NETWORKS.values())
    assert all(40 < dice <= 100 for dice in scores.values()), scores  # trained, not lucky
    assert (place / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in place.iterdir()) == sorted([PICTURE, "tmp"])
    left = [path.name for path in (place / "tmp").iterdir() if path.name.startswith("mlbseg_demo_")]
    assert left == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(place, how):
    process = start_demo(place)
    for line in process.stdout:
        if "mlbseg convert" in line:
            break
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else 143), err
    assert "Traceback" not in err
    assert [path.name for path in place.iterdir()] == ["tmp"]
    assert list((place / "tmp").iterdir()) == []
