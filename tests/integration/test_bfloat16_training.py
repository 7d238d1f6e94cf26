"""A training on the CPU in bfloat16 by nnU-Net's own command, stopped within an epoch and continued."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_support import TRAINER, Workspace

from nnunetv2_mlbseg.runtime.stop_request import EXIT_CODE as STOPPED

pytestmark = pytest.mark.integration

# The processor counts as one with instructions for bfloat16; without any the steps are slow, and the same.
PROGRAM = """
import sys
from nnunetv2.run.run_training import run_training_entry
from nnunetv2_mlbseg.training import precision
has, ratio = sys.argv.pop(1), float(sys.argv.pop(1))
precision.has_bfloat16, precision.measured_ratio = lambda: has == "has", lambda network, patch: ratio
run_training_entry()
"""
ON = "bfloat16 on the CPU: on, a pass took 0.50 of its time in float32 (on below 0.9)"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Workspace.prepared(tmp_path_factory.mktemp("template")).root


def _copy(template: Path, root: Path) -> Workspace:
    root.mkdir()
    subprocess.run(["cp", "-r", f"{template}/.", str(root)], check=True)
    return Workspace(root)


def _train(
    workspace: Workspace, has: str, ratio: float, *options: str, wanted: str = '"auto"', stop_at: int = 0
) -> tuple[int, str]:
    """Exit code and output; SIGTERM at the beginning of epoch ``stop_at``, whose first iteration is still done."""
    arguments = (has, str(ratio), "900", "2d_tiny", "0", "-tr", TRAINER, "-device", "cpu", *options)
    env = {**workspace.env, "nnUNet_n_proc_DA": "0", "MLBSEG_CONFIG": f'{{"cpu_bfloat16": {wanted}}}'}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, env=env, **pipes) as process:
        log, stages = "", 0
        for line in process.stdout:
            log, stages = log + line, stages + ("Stage: " in line)
            if stop_at and stages == stop_at + 1:
                process.send_signal(signal.SIGTERM)
                stop_at = 0
    return process.returncode, log


def _load(workspace: Workspace, name: str) -> dict:
    return torch.load(workspace.fold_folder() / name, map_location="cpu", weights_only=False)


def test_it_ends_with_the_same_weights_as_undisturbed(template, tmp_path):
    undisturbed, stopped = _copy(template, tmp_path / "undisturbed"), _copy(template, tmp_path / "stopped")
    code, log = _train(undisturbed, "has", 0.5)
    assert code == 0 and log.count("bfloat16 on the CPU") == 1 and ON in log, log[-3000:]
    code, log = _train(stopped, "has", 0.5, stop_at=3)
    assert code == STOPPED, log[-3000:]
    latest = _load(stopped, "checkpoint_latest.pth")["mlbseg"]
    assert latest["cpu_bfloat16"] is True and 0 < len(latest["partial_epoch"]["outputs"]["loss"]) < 3
    code, log = _train(stopped, "has", 2.0, "--c")  # it would be decided otherwise now, and is not decided again
    assert code == 0 and "bfloat16 on the CPU: on, as before" in log, log[-3000:]
    assert "continuing after iteration" in log
    one, other = _load(undisturbed, "checkpoint_final.pth"), _load(stopped, "checkpoint_final.pth")
    assert one["mlbseg"]["ema_step"] == other["mlbseg"]["ema_step"] == 12 and one["mlbseg"]["cpu_bfloat16"] is True
    for field in ("student_weights", "teacher_weights"):
        assert one[field].keys() == other[field].keys()
        assert all(torch.equal(value, other[field][name]) for name, value in one[field].items())
        assert all(value.dtype == torch.float32 and torch.isfinite(value).all() for value in one[field].values())


def test_true_on_a_processor_without_it_is_one_line(template, tmp_path):
    workspace = _copy(template, tmp_path / "refused")
    code, log = _train(workspace, "has not", 0.5, wanted="true")
    assert code and "Traceback" not in log, log[-3000:]
    assert log.splitlines()[-1] == (
        "mlbseg: error: cpu_bfloat16 is true, but this processor has no instructions for it (AMX, AVX512-BF16, Arm's "
        "BF16): set it to auto or false"
    )
    assert not list(workspace.fold_folder().glob("*.pth"))
