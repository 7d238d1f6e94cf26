"""Start Snakemake on a study, and find out afterwards what became of the runs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import resources, util
from pathlib import Path
from typing import Any

from nnunetv2_mlbseg.study.running.locks import locked
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.files import write_json

# Options of Snakemake that say where jobs run, and those that say how many at once.
EXECUTORS = {"--executor", "-e", "--profile", "--workflow-profile"}
ELSEWHERE = EXECUTORS | {"--cores", "-c", "--jobs", "-j"}


def check_installed() -> None:
    """Raise ``InputError`` with the remedy if Snakemake is not there."""
    if util.find_spec("snakemake") is not None:
        return
    if sys.version_info < (3, 11):
        raise InputError(
            f"studies run on Snakemake, which needs Python 3.11 or newer; this is {sys.version.split()[0]}. Install "
            "this package with 'pip install .[study]' in an environment with a newer Python"
        )
    raise InputError(
        "studies run on Snakemake, which is not installed; run pip install '.[study]' or pip install snakemake"
    )


def run_engine(out: Path, described: Mapping[str, Any], cores: int, dry_run: bool, options: Sequence[str]) -> int:
    """Run everything that is missing; returns Snakemake's exit code.

    Args:
        out: the study's folder.
        described: what the Snakefile reads.
        cores: for jobs on this machine.
        dry_run: only say what would run.
        options: handed to Snakemake as they are.

    Raises:
        InputError: another process runs a study in this folder.
    """
    check_installed()
    with locked(out) as lock:
        write_json(out / "study.json", described)
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile()), "--directory", str(out)]
        command += ["--config", f"study={out / 'study.json'}", "--rerun-triggers", "mtime", "--rerun-incomplete"]
        command += ["--nolock"]  # the lock held here ends with this process; Snakemake's outlives a killed one
        command += ["--keep-going", "--retries", str(described["retries"])]
        if is_local(options):
            command += ["--cores", str(cores)]
        options = one_at_a_time(options) if described["device"] != "cpu" else options
        # Here the steps report by themselves; elsewhere only Snakemake can say what becomes of them.
        quiet = ["rules", "host", "reason"] if dry_run else ["all"] if is_local(options) else ["host", "reason"]
        command += [*(["--dry-run"] if dry_run else []), "--quiet", *quiet]
        return wait_for([*command, *options], lock)


def is_local(options: Sequence[str]) -> bool:
    """Do the jobs run on this machine, as far as Snakemake's options say?"""
    return not ELSEWHERE & {option.partition("=")[0] for option in options}


def one_at_a_time(options: Sequence[str]) -> list[str]:
    """Snakemake's options with a limit of one GPU job at a time, unless they name another or another place to run."""
    options = [part for option in options for part in split_resources(option)]
    if EXECUTORS & {option.partition("=")[0] for option in options} or any(o.startswith("gpu=") for o in options):
        return options
    if "--resources" not in options:
        return [*options, "--resources", "gpu=1"]
    after = options.index("--resources") + 1
    return [*options[:after], "gpu=1", *options[after:]]


def split_resources(option: str) -> list[str]:
    """``--resources=NAME=VALUE`` in the two parts that it stands for; others as they are."""
    name, _, value = option.partition("=")
    return [name, value] if name == "--resources" and value else [option]


def snakefile() -> Path:
    """The workflow, in the installed package."""
    return Path(str(resources.files("nnunetv2_mlbseg.study") / "Snakefile"))


def wait_for(command: Sequence[str], lock: int) -> int:
    """Run Snakemake in a process group of its own; whatever would end this process is passed on to all of that group.

    Snakemake alone would go on with its running jobs, and so would they without it.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    started: list[subprocess.Popen[bytes]] = []
    wanted = False

    def interrupt(*_: object) -> None:
        nonlocal wanted
        wanted = True
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)

    # Before the start: a shell's background command ignores SIGINT, and so would Snakemake, to which that is handed
    # down; a signal that is handled here has its default effect there.
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        started.append(subprocess.Popen(command, env=environment, start_new_session=True, pass_fds=(lock,)))
        if wanted:
            interrupt()
        return started[0].wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
