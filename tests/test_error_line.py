"""Our errors end nnU-Net's commands with one line; others keep their traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest


def _run(body: str, **settings: str) -> subprocess.CompletedProcess[str]:
    code = (
        "from nnunetv2_mlbseg import error_line\nfrom noise_synthesis.errors import InputError\n"
        "error_line.install()\nerror_line.install()\n" + body
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=settings or None)


@pytest.mark.parametrize("kind", ["InputError", "error_line.UnsupportedError"])
def test_ours_is_one_line(kind):
    done = _run(f"raise {kind}('got this, expected that')")
    assert done.returncode == 1
    assert done.stderr == "mlbseg: error: got this, expected that\n"


def test_others_keep_their_traceback():
    done = _run("raise ValueError('boom')")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") and "ValueError: boom" in done.stderr


def test_debug_variable_keeps_ours_too(monkeypatch):
    import os

    done = _run("raise InputError('x')", **{**os.environ, "MLBSEG_DEBUG": "1"})
    assert "Traceback" in done.stderr
