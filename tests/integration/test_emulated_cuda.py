"""Training steps on emulated CUDA: right in half precision, and the host waits once a step, for the gradient scaler.

Compiled code, nccl and the speed of kernels need a GPU; see ``tests/support/emulated_cuda.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import emulated_cuda
import pytest
import torch
from conftest import REPOSITORY
from emulated_steps import CASES, DEFECTS, STEPS

pytestmark = pytest.mark.integration

SUPPORT = REPOSITORY / "tests" / "support"
# Beside the gradient scaler's own look at the gradient: nnU-Net's own step hands its loss to the host.
WAITS_OF_A_STEP = {"plain": 2}
# Float16 has 11 bits, and passes and gradients round in it. Shares of the norm of the update; weights as they are.
MOST = {"scales": 0.005, "update": 0.04, "weights": 1e-3}
SEEN_AS = {
    "a value is read": "waits",
    "a tensor is made on the CPU": "mixes",
    "a number is copied to the GPU": "waits",
    "the CPU's generator draws": "mixes",
    "sums are in half precision": "half-precision sums",
    "the clean gradient lacks the scale": "update",
    "the virtual step keeps the scale": "scales",
    "the loss is not finite": "not finite",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What all steps gave, of the cases and of the defects."""
    why = emulated_cuda.missing()
    if why:
        pytest.skip(f"CUDA cannot be emulated: {why}")
    folder: Path = tmp_path_factory.mktemp("emulated_cuda")
    environment = {**os.environ, "LD_PRELOAD": str(emulated_cuda.build(folder)), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), str(SUPPORT)])
    command = [sys.executable, "-W", "ignore", str(SUPPORT / "emulated_steps.py"), str(folder / "found.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "found.pt")


def _problems(steps: dict[str, Any], waits_of_a_step: int = 1) -> dict[str, Any]:
    """All that is wrong with the steps of a case, by kind."""
    small_scale, large_scale = steps["cuda"]
    right, after = steps["cpu"]["after"], large_scale["after"]
    update = (right - steps["cpu"]["before"]).norm()
    seen = {
        "not finite": not (small_scale["finite"] and large_scale["finite"]),
        "waits": large_scale["waits"] if len(large_scale["waits"]) != waits_of_a_step * STEPS else [],
        "mixes": large_scale["mixes"],
        "half-precision sums": large_scale["half_sums"],
    }
    off = {
        "scales": float((small_scale["after"] - after).norm() / update),
        "update": float((after - right).norm() / update),
        "weights": float((after - right).abs().max()),
    }
    too_far = {kind: value for kind, value in off.items() if not value <= MOST[kind]}  # NaN is too far
    return {kind: value for kind, value in seen.items() if value} | too_far


@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_float32_and_wait_for_the_gradient_scaler_alone(found: dict[str, Any], name: str):
    assert _problems(found["cases"][name], WAITS_OF_A_STEP.get(name, 1)) == {}


@pytest.mark.parametrize("name", DEFECTS)
def test_defects_are_seen(found: dict[str, Any], name: str):
    assert SEEN_AS[name] in _problems(found["defects"][name])


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(emulated_cuda.torch.version, "cuda", "13.0")
    monkeypatch.setattr(emulated_cuda.shutil, "which", lambda name: None)
    assert emulated_cuda.missing() == "there is no g++"
    monkeypatch.setattr(emulated_cuda.torch.version, "cuda", None)
    assert emulated_cuda.missing() == "torch is built for CUDA None, expected 13"
