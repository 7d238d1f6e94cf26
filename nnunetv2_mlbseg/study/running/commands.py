"""Run the commands of a step, with logs that grow over restarts, and end them with the step."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from nnunetv2_mlbseg.runtime.commands import find_script, last_line, stop
from noise_synthesis.safe_io.errors import InputError


class Commands:
    """Runs console scripts in one environment.

    Args:
        logs: folder of the logs, one per command name.
        environment: all variables.
        locks: inherited by every command, so that what they guard stays locked while one of them lives.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str], *locks: int):
        self.logs, self.environment, self.locks = logs, dict(environment), locks
        self.logs.mkdir(parents=True, exist_ok=True)

    def __call__(self, name: str, *arguments: object, **more: str) -> None:
        """Run a command to its end.

        Raises:
            InputError: it failed; the line gives the last one of its log.
        """
        command = [find_script(name), *map(str, arguments)]
        log = self.logs / f"{name}.log"
        with open(log, "ab") as output:
            variables = [f"{key}={value}" for key, value in more.items()]
            output.write(f"\n$ {shlex.join([*variables, name, *command[1:]])}\n".encode())
            output.flush()
            process = subprocess.Popen(
                command,
                env={**self.environment, **more},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its own worker processes can be ended with it
                pass_fds=self.locks,
            )
            try:
                code = process.wait()
            finally:
                stop(process)
                with suppress(ProcessLookupError):  # what a killed command leaves behind would keep the locks
                    os.killpg(process.pid, signal.SIGKILL)
        if code:
            raise InputError(f"{name} failed with exit code {code}: {last_line(log)} (its log is {log})")


def end_on_signals() -> None:
    """Let the signals that end a job raise, so that its commands are ended with it."""

    def raise_interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, raise_interrupt)
    signal.signal(signal.SIGINT, raise_interrupt)


def nnunet_environment(data: Path, results: Path, study: Mapping[str, Any]) -> dict[str, str]:
    """nnU-Net's folders, and as many threads as the study gives a job.

    The trainers of this package keep to OMP_NUM_THREADS on the CPU; nnU-Net's own take all cores whatever it says.
    """
    environment = {key: value for key, value in os.environ.items() if key != "MLBSEG_CONFIG"}
    environment |= {
        "nnUNet_raw": str(data / "nnUNet_raw"),
        "nnUNet_preprocessed": str(data / "nnUNet_preprocessed"),
        "nnUNet_results": str(results),
        "nnUNet_def_n_proc": str(study["processes"]),
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "Agg",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait hold up the others on few cores
    }
    if study["device"] == "cpu":
        threads = str(study["threads"])
        environment |= {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    return environment | study["environment"]
