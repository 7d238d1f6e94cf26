"""The campaigns of docs/explanation/reliability.md in a short form; in full they are commands in tests/campaigns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from training_support import Workspace

pytestmark = pytest.mark.integration
CAMPAIGNS = REPOSITORY / "tests" / "campaigns"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preprocessed once for all campaigns."""
    return Workspace.prepared(tmp_path_factory.mktemp("template")).root


def _run(name: str, *options: object) -> str:
    command = [sys.executable, str(CAMPAIGNS / f"{name}.py"), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_killed_and_stopped_trainings_end_as_an_undisturbed_one(template, tmp_path):
    _run("kill_and_resume", "--out", tmp_path, "--kills", 6, "--template", template)
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["kills"]) >= 6 and result["runs"] >= 2 and not result["differences"]
    assert all(stop["until_end_s"] < 30 for stop in result["terms"])


def test_a_lost_disk_costs_nothing_that_was_written(template, tmp_path):
    _run("disk_faults", "--short", "--out", tmp_path, "--template", template)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == 4 and not result["not as demanded"]


def test_bad_data_is_never_taken_silently():
    result = json.loads(_run("bad_data", "--cases", 40))
    assert result["cases"] >= 40 and result["kinds"] >= 15
