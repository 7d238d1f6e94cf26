"""The benchmark scripts run and print their tables; what they measure is for people to read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import REPOSITORY
from conversion_sources import make_h5

pytestmark = pytest.mark.integration


def run_benchmark(script: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "ignore", str(REPOSITORY / "benchmarks" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_step():
    """The smallest form of everything; of growth and peak memory one point will do."""
    some = "same_weights or whole_step or loading or part or (peak_memory and whole) or (growth and classes and 0)"
    sizes = ("--images", 5, "--size", 16, "--rounds", 1)
    command = [sys.executable, "-m", "pytest", "-q", "benchmarks/step", "-k", some, "-p", "no:cacheprovider", *sizes]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout[-3000:]
    for row in ("stock", "core", "second order", "whole", "consistency", "views"):
        assert re.search(rf"^{row} +\d+\.\d+ +\d+\.\d+", done.stdout, re.MULTILINE), row
    assert "an iteration with loading" in done.stdout


def test_throughput():
    printed = run_benchmark(
        "step/throughput.py", "--device", "cpu", "--processes", 0, "--images", 5, "--size", 16, "--steps", 1
    )
    assert len(re.findall(r"^(?:stock|ours)\D+\d+\.\d", printed, re.MULTILINE)) == 3


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


def test_weighting(tmp_path: Path):
    """Every row trains and scores on a dataset with one clean, one noisy, one unlabeled and one validation case."""
    dataset = tmp_path / "Dataset001_Tiny"
    image = np.zeros((4, 16, 16), np.float32)
    image[:, 4:12, 5:11] = 1
    image += np.random.default_rng(0).normal(0, 0.1, image.shape).astype(np.float32)
    for folder, shift in (("imagesTr", None), ("labelsTr", 2), ("labelsTr_true", 0)):
        (dataset / folder).mkdir(parents=True)
        for case in "abcd":
            label = np.roll(image > 0.5, shift or 0, axis=1).astype(np.uint8)
            array, suffix = (image, "_0000") if shift is None else (label, "")
            sitk.WriteImage(sitk.GetImageFromArray(array), str(dataset / folder / f"{case}{suffix}.nii.gz"))
    (dataset / "supervision").mkdir()
    for role, cases in (("clean", ["a"]), ("noisy", ["b"]), ("unlabeled", ["c"])):
        (dataset / "supervision" / f"{role}.json").write_text(json.dumps(cases))
    (dataset / "splits_final.json").write_text(json.dumps([{"train": ["a", "b", "c"], "val": ["d"]}]))
    printed = run_benchmark("weighting.py", dataset, "--warmup", 1, "--iterations", 1, "--features", 4, 8)
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["row"] for line in lines] == ["clean", "given", "true", "uniform", "meta", "tied"]
    assert all(0 <= line[network] <= 1 for line in lines for network in ("student", "teacher"))


def test_core_and_rim(tmp_path: Path):
    """A square of 9 x 9 pixels has a core of 5 x 5; where the frame cuts an organ off, its rim goes on."""
    dataset = tmp_path / "Dataset001_Tiny"
    true = np.zeros((3, 15, 15), np.uint8)
    true[1, 3:12, 3:12] = 1
    true[2, :5, :5] = 1
    for folder, suffix, array in (
        ("imagesTr", "_0000", true * 9.0),
        ("labelsTr", "", np.roll(true, 1, axis=2)),
        ("labelsTr_true", "", true),
    ):
        (dataset / folder).mkdir(parents=True)
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.5, 0.5, 3))
        sitk.WriteImage(image, str(dataset / folder / f"a{suffix}.nii.gz"))
    description = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}
    (dataset / "dataset.json").write_text(json.dumps({**description, "numTraining": 1}))
    assert "1 cases with core and rim" in run_benchmark("core_and_rim.py", dataset, "Dataset002_Zones")
    zones = sitk.ReadImage(str(tmp_path / "Dataset002_Zones" / "labelsTr" / "a.nii.gz"))
    assert zones.GetSpacing() == (0.5, 0.5, 3)
    expected = true * 2  # the depth of the squares is 5 and 3: the core begins at 3 and at 2
    expected[1, 5:10, 5:10] = 1
    expected[2, 1:4, 1:4] = 1
    np.testing.assert_array_equal(sitk.GetArrayFromImage(zones), expected)
    written = json.loads((tmp_path / "Dataset002_Zones" / "dataset.json").read_text())
    assert written["labels"] == {"background": 0, "core": 1, "rim": 2} and written["numTraining"] == 1
    found = {path.name for path in (tmp_path / "Dataset002_Zones").iterdir()}
    assert found == {"dataset.json", "imagesTr", "labelsTr"}, "mlbseg convert nnunet refuses a dataset that has roles"
    before = (tmp_path / "Dataset002_Zones" / "dataset.json").read_bytes()
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "core_and_rim.py"), str(dataset), "Dataset002_Zones"]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and "exists already" in again.stderr
    assert (tmp_path / "Dataset002_Zones" / "dataset.json").read_bytes() == before
