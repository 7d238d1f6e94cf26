"""Two processes over gloo take the steps that one takes on the whole batch, and wait for each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import two_processes
from conftest import REPOSITORY, CompletedText
from torch import Tensor

from nnunetv2_mlbseg.runtime.processes import Processes

pytestmark = pytest.mark.integration


def _run(what: str, folder: Path) -> CompletedText:
    program = REPOSITORY / "tests" / "support" / "two_processes.py"
    command = [sys.executable, "-W", "ignore", str(program), what, "2", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def _both(what: str, folder: Path) -> list[Any]:
    """What each of two processes found."""
    done = _run(what, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict]]:
    """What each of two processes found, with uneven shares: 3 and 2 clean images, 2 and 1 imperfect ones."""
    return _both("steps", tmp_path_factory.mktemp("two_processes"))


def _close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= 1e-6 * expected.abs().max().clamp_min(1e-3))


@pytest.mark.parametrize("name", two_processes.SETTINGS)
def test_two_processes_take_the_steps_of_one(shared: list[dict[str, dict]], name: str):
    expected = two_processes.run_steps(two_processes.SETTINGS[name], Processes())
    first, second = (found[name] for found in shared)
    for network in ("student", "teacher"):
        for key, tensor in expected[network].items():
            assert torch.equal(first[network][key], second[network][key]), (network, key)
            assert _close(first[network][key], tensor), (network, key)
    assert len(expected["weights"]) == 3
    for ours, whole in zip(two_processes.joined([first, second]), expected["weights"], strict=True):
        for maps, wanted in zip(ours, whole, strict=True):
            assert all(_close(*pair) for pair in zip(maps, wanted, strict=True))
            assert any((w > 0).any() for w in wanted)
    for found, wanted in zip(first["values"], expected["values"], strict=True):
        assert found.keys() == wanted.keys()
        assert all(_close(found[quantity], wanted[quantity]) for quantity in wanted)


def test_who_is_behind_for_longer_than_a_step_may_take_is_waited_for(tmp_path: Path):
    """The first one makes files alone, then the second one is slow; in a step the same delay is too long."""
    first, second = _both("waits", tmp_path)
    for found in (first, second):
        assert found["files"] == ["of the first"]
        assert found["gathered"] == [0, 1] and found["total"] == 3
    assert second["in a step"] == "gave up"


def test_a_process_that_dies_ends_the_others_at_once_with_one_line(tmp_path: Path):
    assert _run("dies", tmp_path).returncode != 0
    killed = float((tmp_path / "killed").read_text())
    ended, line = (tmp_path / "1.txt").read_text().split(maxsplit=1)
    assert 0 <= float(ended) - killed < 20
    assert line.startswith("process 2 of 2 cannot go on: another one has ended") and "\n" not in line
