"""Our errors end nnU-Net's commands with one line; others keep their traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest


def _run(body: str, **settings: str) -> subprocess.CompletedProcess[str]:
    code = (
        "from nnunetv2_mlbseg.runtime import errors as error_line\n"
        "from noise_synthesis.safe_io.errors import InputError\n"
        "error_line.install()\nerror_line.install()\n" + body
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=settings or None)


@pytest.mark.parametrize("kind", ["InputError", "error_line.UnsupportedError"])
def test_ours_is_one_line(kind):
    done = _run(f"raise {kind}('got this, expected that')")
    assert done.returncode == 1
    assert done.stderr == "mlbseg: error: got this, expected that\n"


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO"])
def test_what_a_disk_does_to_a_training_says_how_to_go_on(name):
    done = _run(f"import errno\nraise OSError(errno.{name}, 'reason', 'file')")
    assert done.stderr.startswith("mlbseg: error: file: ") and done.stderr.endswith("then go on with --c\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["ENOENT", "EACCES", "EPERM"])
def test_a_missing_or_forbidden_file_promises_no_checkpoint(name):
    done = _run(f"import errno\nraise OSError(errno.{name}, 'reason', 'file')")
    assert done.returncode == 1 and done.stderr == "mlbseg: error: file: reason\n"


def test_others_keep_their_traceback():
    done = _run("raise ValueError('boom')")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") and "ValueError: boom" in done.stderr


def test_debug_variable_keeps_ours_too(monkeypatch):
    import os

    done = _run("raise InputError('x')", **{**os.environ, "MLBSEG_DEBUG": "1"})
    assert "Traceback" in done.stderr
