"""Child processes of the demonstration: logged, watched, and gone when the demonstration ends."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest

from nnunetv2_mlbseg.runtime.commands import CommandRunner, clock, find_script, plain_line
from noise_synthesis.safe_io.errors import InputError


@pytest.fixture
def terminal() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def run(tmp_path: Path, terminal: io.StringIO) -> CommandRunner:
    return CommandRunner(tmp_path / "logs", os.environ, hide=tmp_path, terminal=terminal)


def test_output_goes_to_a_log_per_command(run, tmp_path, terminal):
    run("python", "-c", "import sys; print('one'); print('two', file=sys.stderr)")
    run("python", "-c", "print(3)")
    assert sorted((tmp_path / "logs" / "01_python.log").read_text().split()) == ["one", "two"]
    assert (tmp_path / "logs" / "02_python.log").read_text() == "3\n"
    assert terminal.getvalue().count("done in 00:0") == 2


def test_command_lines_name_the_working_folder_out(run, tmp_path, terminal):
    run("python", "-c", "pass", tmp_path / "scans")
    assert "  $ python -c pass OUT/scans\n" in terminal.getvalue()


def test_variables_of_one_command_do_not_reach_the_next(run, tmp_path):
    show = "import os; print(os.environ.get('MLBSEG_TEST_VARIABLE'))"
    run("python", "-c", show, MLBSEG_TEST_VARIABLE="here")
    run("python", "-c", show)
    logs = [(tmp_path / "logs" / f"0{number}_python.log").read_text().strip() for number in (1, 2)]
    assert logs == ["here", "None"]


def test_a_failure_names_the_command_its_last_words_and_its_log(run, tmp_path):
    with pytest.raises(InputError, match=r"python failed with exit code 3: no luck \(its log is .*01_python.log\)"):
        run("python", "-c", "import sys; print('no luck'); sys.exit(3)")


def test_an_unknown_command_points_to_the_doctor():
    with pytest.raises(InputError, match="the command no-such-script is not on PATH; 'mlbseg doctor'"):
        find_script("no-such-script")


def test_progress_bars_and_filtered_lines_reach_the_terminal(run, terminal, monkeypatch):
    monkeypatch.setattr("nnunetv2_mlbseg.runtime.commands.NO_TERMINAL_INTERVAL_S", 0)
    bar = "import time\nfor i in range(3): print(f'step {i}', end=chr(13), flush=True); time.sleep(1)\nprint('noise')"
    run("python", "-c", bar, show=lambda line: line if line.startswith("step") else "")
    assert "step 0" in terminal.getvalue() or "step 1" in terminal.getvalue()
    assert "] noise" not in terminal.getvalue()


def test_an_interruption_ends_the_command_and_its_own_children(run, tmp_path, monkeypatch):
    started = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(started)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)"
    )

    def interrupt(process, latest):
        while not started.exists() or not started.read_text():
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("python", "-c", code)
    for pid in started.read_text().split():
        assert is_gone(int(pid))


def is_gone(pid: int) -> bool:
    """Ended, or ended and waiting to be reaped by whoever adopted it."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_timestamps_are_left_out():
    assert plain_line("2026-01-02 03:04:05.678901: Epoch 7 ") == "Epoch 7"
    assert clock(125.7) == "02:05"
