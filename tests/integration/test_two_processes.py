"""Two processes over gloo take the steps that one takes on the whole batch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import two_processes
from conftest import REPOSITORY
from torch import Tensor

from nnunetv2_mlbseg.runtime.processes import Processes

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict]]:
    """What each of two processes found, with uneven shares: 3 and 2 clean images, 2 and 1 imperfect ones."""
    folder = tmp_path_factory.mktemp("two_processes")
    program = REPOSITORY / "tests" / "support" / "two_processes.py"
    command = [sys.executable, "-W", "ignore", str(program), "steps", "2", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


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
