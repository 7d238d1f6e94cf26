"""Run public commands as child processes: their output goes to log files, one line of it to the terminal."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TextIO

from noise_synthesis.safe_io.errors import InputError

LINE_WIDTH = 110  # nnU-Net prints whole dictionaries in a line
NO_TERMINAL_INTERVAL_S = 10  # where lines cannot be overwritten, print one this often
STOP_WAIT_S = 10
TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: ")


def plain_line(line: str) -> str:
    """What to show of a line of output: all of it but nnU-Net's timestamp."""
    return TIMESTAMP.sub("", line).strip()


class CommandRunner:
    """Runs one command after the other, in one environment, with a log file each.

    Args:
        logs: folder of the log files; made if it is not there.
        environment: of all commands.
        hide: a folder that is printed as ``OUT`` in the command lines.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str], hide: Path, terminal: TextIO | None = None):
        self.logs, self.environment, self.hide = logs, dict(environment), hide
        self.terminal = terminal or sys.stdout
        self.started = time.monotonic()
        self.logs.mkdir(parents=True, exist_ok=True)
        self._count = 0

    def headline(self, text: str) -> None:
        """Announce a stage, with the time since the start."""
        print(f"\n[{clock(time.monotonic() - self.started)}] {text}", file=self.terminal, flush=True)

    def __call__(self, name: str, *arguments: object, show: Callable[[str], str] = plain_line, **more: str) -> None:
        """Run a console script to its end.

        Args:
            show: turns a line of output into what is shown of it; an empty string leaves the former line.
            more: variables for this command only.

        Raises:
            InputError: it is not installed, or it failed.
        """
        command = [find_script(name), *map(str, arguments)]
        shown = shlex.join([name, *command[1:]]).replace(str(self.hide), "OUT")
        print(f"  $ {shown}", file=self.terminal, flush=True)
        self._count += 1
        log = self.logs / f"{self._count:02d}_{name}.log"
        began = time.monotonic()
        with open(log, "wb") as log_file:
            code = self._run(command, {**self.environment, **more}, log_file, show)
        if code:
            raise InputError(f"demo: {name} failed with exit code {code}: {last_line(log)} (its log is {log})")
        self._status(f"done in {clock(time.monotonic() - began)}", final=True)

    def _run(
        self, command: list[str], environment: Mapping[str, str], log: IO[bytes], show: Callable[[str], str]
    ) -> int:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that its own worker processes can be ended with it
        )
        latest = [""]
        reader = threading.Thread(target=follow, args=(process.stdout, log, show, latest), daemon=True)
        reader.start()
        try:
            self._wait(process, latest)
            reader.join()
            return process.returncode
        finally:
            stop(process)

    def _wait(self, process: subprocess.Popen[bytes], latest: list[str]) -> None:
        is_terminal = self.terminal.isatty()
        printed, due = "", time.monotonic() + (0 if is_terminal else NO_TERMINAL_INTERVAL_S)
        while True:
            try:
                process.wait(timeout=1)
                return
            except subprocess.TimeoutExpired:
                pass
            if is_terminal or (time.monotonic() >= due and latest[0] != printed):
                self._status(latest[0])
                printed, due = latest[0], time.monotonic() + NO_TERMINAL_INTERVAL_S

    def _status(self, text: str, final: bool = False) -> None:
        """Show one line below the command; on a terminal the next one takes its place."""
        line = f"    [{clock(time.monotonic() - self.started)}] {text}"
        if self.terminal.isatty():
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{line[:width]:<{width}}", end="\n" if final else "", file=self.terminal, flush=True)
        else:
            print("    " + textwrap.shorten(line, LINE_WIDTH, placeholder=" ..."), file=self.terminal, flush=True)


def find_script(name: str) -> str:
    """Path of a console script, first beside the running interpreter, then on PATH."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise InputError(f"demo: the command {name} is not on PATH; 'mlbseg doctor' looks into the installation")
    return found


def follow(output: IO[bytes] | None, log: IO[bytes], show: Callable[[str], str], latest: list[str]) -> None:
    """Copy a child's output to its log and keep its latest line; progress bars end their lines by carriage returns."""
    assert output is not None
    rest = b""
    while chunk := os.read(output.fileno(), 65536):
        log.write(chunk)
        log.flush()
        *lines, rest = re.split(rb"[\r\n]", rest + chunk)
        for line in lines:
            latest[0] = show(line.decode(errors="replace")) or latest[0]


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a command that still runs, together with the processes it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, how)
        try:
            process.wait(timeout=STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            continue


def last_line(log: Path) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
