"""The benchmark scripts run and print their tables; what they measure is for people to read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import REPOSITORY
from conversion_sources import make_h5

pytestmark = pytest.mark.integration

ALONE: dict[str, Any] = {
    **{"capture_output": True, "text": True, "timeout": 600, "cwd": REPOSITORY},
    "env": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST_")},
}
"""As a user runs a benchmark, also where several processes share the tests."""


def run_benchmark(script: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "ignore", str(REPOSITORY / "benchmarks" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_step():
    """The smallest form of everything; of growth and peak memory one point will do."""
    some = "same_weights or whole_step or loading or part or (peak_memory and whole) or (growth and classes and 0)"
    some += " or bfloat16"
    sizes = ("--images", 5, "--size", 16, "--rounds", 1, "--bfloat16")
    command = [sys.executable, "-m", "pytest", "-q", "benchmarks/step", "-k", some, "-p", "no:cacheprovider", *sizes]
    done = subprocess.run(list(map(str, command)), **ALONE)
    assert done.returncode == 0, done.stdout[-3000:]
    for row in ("stock", "core", "second order", "whole", "consistency", "views"):
        assert re.search(rf"^{row} +\d+\.\d+ +\d+\.\d+", done.stdout, re.MULTILINE), row
    assert "an iteration with loading" in done.stdout
    assert re.search(r"^bfloat16 / float32: stock \d+\.\d\d, whole \d+\.\d\d$", done.stdout, re.MULTILINE)


def test_overhead():
    """Two numbers of classes, on the smallest images that a network of six stages takes."""
    sizes = ("--images", 5, "--size", 64, "--rounds", 1, "--classes", "2,5", "--preset", "paper")
    command = [sys.executable, "-m", "pytest", "-q", "benchmarks/step", "-k", "overhead", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *map(str, sizes)], **ALONE)
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.findall(r"^(\d+) +\d+\.\d+ +\d+\.\d+ +-?\d+\.\d%$", done.stdout, re.MULTILINE) == ["2", "5"]


def test_throughput():
    printed = run_benchmark(
        "step/throughput.py", "--device", "cpu", "--processes", 0, "--images", 5, "--size", 16, "--steps", 1
    )
    assert len(re.findall(r"^(?:stock|ours)\D+\d+\.\d", printed, re.MULTILINE)) == 3


def test_on_a_gpu_rehearsed_on_the_cpu():
    printed = run_benchmark(
        "on_a_gpu.py", "--device", "cpu", "--size", 16, "--images", 6, "--steps", 1, "--processes", 0
    )
    rows = re.findall(r"^\| (?:step|part|with loading)[^|]* \| \d+\.\d[^|]*\|", printed, re.MULTILINE)
    assert len(rows) == 6 + 12 + 3, printed


def test_counted_memory():
    printed = run_benchmark("step/counted_memory.py", "plain", "--size", 128)
    assert len(re.findall(r"^plain +\w+ +\d+\.\d+ +\d\.\d+$", printed, re.MULTILINE)) == 4


def test_methods():
    """One of each kind: a plain step's own stages, companions, a pretraining, and MLB-Seg."""
    trainers = [f"nnUNetTrainer{name}" for name in ("EntropyMin", "DAN", "Contrastive", "MLBSeg")]
    for way in (["--images", 5], ["--images", 5, "--bfloat16"], ["--images", 2, "--dims", 3, "--width", 0.25]):
        printed = run_benchmark("step/methods.py", *trainers, "--size", 16, "--rounds", 1, *way)
        rows = re.findall(r"^(\w\S*) +\d+\.\d+ +\d+\.\d+ +\d\S* +\d+$", printed, re.MULTILINE)
        assert sorted(rows) == sorted(["nnU-Net", *trainers]), printed


def test_metrics(tmp_path: Path):
    label = np.zeros((8, 24, 24), np.uint8)
    label[2:6, 5:18, 6:17] = 1
    sitk.WriteImage(sitk.GetImageFromArray(label), str(tmp_path / "a.nii.gz"))
    assert "a.nii.gz" in run_benchmark("metrics_time.py", "--repeats", 1, tmp_path / "a.nii.gz")


def test_conversion(tmp_path: Path):
    for number in range(2):
        make_h5(tmp_path / "h5", f"SCAN{number:02d}", seed=number)
    printed = run_benchmark("conversion.py", "--la", tmp_path / "h5", "--cases", 2)
    assert len(re.findall(r"\d+\.\d+", printed)) >= 2


def test_several_readers(tmp_path: Path):
    """One iteration an epoch; a second run takes what is there and prints the same."""
    for number in range(6):
        make_h5(tmp_path / "h5", f"SCAN{number}", shape=(48, 48, 4), seed=number)
    (tmp_path / "evaluation.txt").write_text("SCAN5\n")
    of_data = ("la", tmp_path / "h5", tmp_path / "out", "--evaluation", tmp_path / "evaluation.txt", "--clean", 2)
    arguments = (*of_data, "--iterations", 1, "--rows", "further")
    printed = run_benchmark("several_readers.py", *arguments)
    assert re.fullmatch(r"further +Dice \d+\.\d\n", printed)
    assert run_benchmark("several_readers.py", *arguments) == printed
    (log,) = (tmp_path / "out" / "nnUNet_results" / "Dataset704_LA").rglob("training_log*.txt")
    assert "Further labels by reader3: of 3 noisy and 0 clean cases" in log.read_text()


def test_labels_of_three_readers_are_fused(monkeypatch: pytest.MonkeyPatch):
    """Two square labels agree on a half; the third has all of the row below."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    from several_readers import FUSED

    arrays = np.zeros((3, 1, 8, 8), np.uint8)
    arrays[0, :, 1:5, 1:7], arrays[1, :, 1:5, 1:7], arrays[2, :, 5:6] = 1, 1, 1
    labels = [sitk.GetImageFromArray(one) for one in arrays]
    for fuse in FUSED.values():
        found = fuse(labels)
        assert found.GetPixelID() == sitk.sitkUInt8
        assert np.array_equal(sitk.GetArrayFromImage(found), arrays[0])
