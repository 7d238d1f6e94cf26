"""Which GPU of this machine a job takes, where several jobs may run at once."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from nnunetv2_mlbseg.study.running.locks import taken
from noise_synthesis.safe_io.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
SCHEDULED = "SLURM_JOB_ID"
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Gpu:
    """What a job on it is started with."""

    variables: dict[str, str]
    locks: tuple[int, ...] = ()
    """Inherited by the commands of the job, so that the GPU stays taken while one of them lives."""


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that CUDA shows here, by the names that ``CUDA_VISIBLE_DEVICES`` takes.

    CUDA ignores what follows the first entry that names no GPU; of such entries a negative number is known here.
    """
    if environment.get(VISIBLE) is not None:
        names = (name.strip() for name in environment[VISIBLE].split(","))
        return list(takewhile(lambda name: name and not name.startswith("-"), names))
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@contextmanager
def one_gpu(device: str, environment: Mapping[str, str]) -> Iterator[Gpu]:
    """Hold one of several GPUs that no other job of this user on this machine holds; wait until there is one.

    A job that sees one GPU or none, as a cluster's scheduler arranges it, takes what it sees.

    Args:
        device: of the study; only ``cuda`` has several.
        environment: the job's variables.

    Raises:
        InputError: the folder of the locks is not this user's, or its file system knows no locks.
    """
    names = visible_gpus(environment) if device == "cuda" else []
    if len(names) < 2:
        yield Gpu({})
        return
    folder, scheduled = lock_folder(), environment.get(SCHEDULED, "")
    with ExitStack() as stack:
        files = {name: stack.enter_context(open(folder / file_name(name, scheduled), "w")) for name in names}
        said = False
        while True:
            for name, file in files.items():
                if taken(file):
                    yield Gpu({VISIBLE: name}, (file.fileno(),))
                    return
            if not said:
                print(f"waits for a GPU: other jobs hold all of {', '.join(names)} (locks in {folder})", flush=True)
                said = True
            time.sleep(SECONDS_BETWEEN_LOOKS)


def lock_folder() -> Path:
    """The user's folder for the locks, one for all studies on this machine.

    Raises:
        InputError: it belongs to someone else.
    """
    folder = Path(tempfile.gettempdir()) / f"mlbseg_gpus_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise InputError(f"{folder}: belongs to another user; set TMPDIR to a folder of yours")
    return folder


def file_name(gpu: str, scheduled: str) -> str:
    """By host, where hosts share the folder, and by scheduled job: in each the same number may be another GPU."""
    return f"{socket.gethostname()}_{scheduled}_{gpu.replace(os.sep, '_')}.lock"
