"""``mlbseg study`` end to end on made-up scans: ended, restarted, a training killed, one run that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from conversion_sources import make_h5

pytestmark = pytest.mark.integration

MLBSEG = Path(sys.executable).parent / "mlbseg"
STUDY = {
    "name": "tiny",
    "device": "cpu",
    "processes": 1,
    "seeds": [3],
    "plan": {"patch_size": [32, 32], "batch_size": 2, "features": [4, 8, 8]},
    "config": {
        "warmup_epochs": 2,
        "epochs": 10,
        "iterations_per_epoch": 10,
        "val_iterations_per_epoch": 1,
        "initial_lr": 0.05,
        "momentum": 0.9,
        "ema_decay": 0.5,
    },
    "datasets": {
        "la": {
            "converter": "la",
            "evaluation": "held_out.txt",
            "options": {"clean": 2, "size": "32x32", "nominal_spacing": True},
            "settings": {"semi": {"noisy_ratio": 0}},
        }
    },
    "variants": {"clean_only": {"shared": True}, "broken": {"trainer": "nnUNetTrainerOfNobody"}},
    "compare_to": ["clean_only"],
}


def write(folder: Path) -> None:
    """Scans, and a study of them."""
    for number in range(6):
        make_h5(folder / "scans", f"scan_{number}", (32, 32, 5), seed=number)
    (folder / "held_out.txt").write_text("scan_4\nscan_5\n")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))


@contextmanager
def started(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """``mlbseg study`` with its output in a file."""
    command = [str(MLBSEG), "study", "tiny.yaml", "--source", "la=scans", "--cores", "1", *options]
    with open(folder / "output.txt", "w") as output:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("nnUNet")}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:  # a failed assertion must not leave trainings behind
        if process.poll() is None:
            process.terminate()
            process.wait(120)


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 600) -> None:
    """Wait for something that happens while the process runs."""
    end = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def training_process(fold: Path) -> int:
    """The process that trains into a folder, found by its log: the one command of this study that is alive."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                results = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            own = f"nnUNet_results={fold.parents[2]}".encode()
            if any(word.endswith(b"/nnUNetv2_train") for word in words) and own in results:
                return int(entry.name)
    raise AssertionError("no training runs")


def test_a_study_survives_its_end_and_a_killed_training_and_names_the_run_that_failed(tmp_path):
    write(tmp_path)
    out = tmp_path / "mlbseg_study_tiny"

    # Ended in the middle of the first training: everything ends with it, nothing of the run counts as done.
    with started(tmp_path, "--only", "*/clean_only/*") as process:
        wait_until(lambda: bool(list(out.glob("runs/la/shared/clean_only/*/**/checkpoint_latest.pth"))), process)
        fold = next(out.glob("runs/la/shared/clean_only/*/**/checkpoint_latest.pth")).parent
        trainer = training_process(fold)
        process.terminate()
        assert process.wait(120) == 1
    assert not Path(f"/proc/{trainer}").exists()
    run = fold.parents[3]
    assert not (run / "trained.json").exists()
    assert "MISSING la/shared/clean_only/seed_3" in (tmp_path / "output.txt").read_text()
    converted = next(out.glob("data/la/*/converted.json")).stat().st_mtime_ns

    # Started again, with the training killed once more: its retry goes on from the checkpoint, the other run fails.
    before = (fold / "checkpoint_latest.pth").stat().st_mtime_ns
    with started(tmp_path) as process:
        wait_until(lambda: (fold / "checkpoint_latest.pth").stat().st_mtime_ns != before, process)
        os.kill(training_process(fold), signal.SIGKILL)
        assert process.wait(900) == 1
    output = (tmp_path / "output.txt").read_text()
    log = (run / "logs" / "nnUNetv2_train.log").read_text()
    commands = [line for line in log.splitlines() if line.startswith("$ ")]
    assert len(commands) == 3
    assert [command.endswith("--c") for command in commands] == [False, True, True]
    assert "Continuing in epoch 0, " not in log and log.count("Continuing in epoch ") == 2
    assert json.loads((run / "trained.json").read_text())["resumed"]
    assert next(out.glob("data/la/*/converted.json")).stat().st_mtime_ns == converted

    dice = check_results(out, run, output)

    # Nothing is left to do for the finished run: no command is started for it.
    again = subprocess.run(
        [str(MLBSEG), "study", "tiny.yaml", "--source", "la=scans", "--only", "*/clean_only/*"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert "begins" not in again.stdout and f"| clean_only | {dice:.2f} |" in again.stdout


def check_results(out: Path, run: Path, output: str) -> float:
    """The final checkpoint was scored on the held-out scans; the failed run is named with its reason, after a retry."""
    scores = json.loads((run / "scores.json").read_text())
    assert [row["case"] for row in scores["cases"]] == ["scan_4", "scan_5"]
    assert "MISSING la/semi/broken/seed_3: " in output and "nnUNetTrainerOfNobody" in output
    assert "1 of 2 runs finished" in output
    broken = next(out.glob("runs/la/semi/broken/*/logs/nnUNetv2_train.log")).read_text()
    assert broken.count("\n$ ") == 2
    dice = 100 * sum(row["dice"] for row in scores["cases"]) / 2
    table = (out / "tables" / "table_01.md").read_text()
    assert f"| clean_only | {dice:.2f} |" in table and "| broken | missing |" in table
    assert "missing runs (1): la/semi/broken/seed_3" in table
    return dice
