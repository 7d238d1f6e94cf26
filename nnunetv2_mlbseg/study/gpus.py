"""Which GPU of this machine a job takes, where a study may run several jobs at once."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
SECONDS_BETWEEN_LOOKS = 1.0


@dataclass(frozen=True)
class Gpu:
    """What a job on it is started with."""

    variables: dict[str, str]
    locks: tuple[int, ...] = ()
    """Inherited by the commands of the job, so that the GPU stays taken while one of them lives."""


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs that CUDA shows here, by the names that ``CUDA_VISIBLE_DEVICES`` takes."""
    if environment.get(VISIBLE) is not None:
        return [name.strip() for name in environment[VISIBLE].split(",") if name.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@contextmanager
def one_gpu(root: Path, device: str, environment: Mapping[str, str]) -> Iterator[Gpu]:
    """Hold one of several GPUs that no other job of the study on this machine holds; wait until there is one.

    A job that sees one GPU or none, as a cluster's scheduler arranges it, takes what it sees.

    Args:
        root: the study's folder, where the locks are.
        device: of the study; only ``cuda`` has several.
        environment: the job's variables.
    """
    names = visible_gpus(environment) if device == "cuda" else []
    if len(names) < 2:
        yield Gpu({})
        return
    with ExitStack() as stack:
        (root / ".gpus").mkdir(parents=True, exist_ok=True)
        files = {name: stack.enter_context(open(root / ".gpus" / _file_name(name), "w")) for name in names}
        while True:
            for name, file in files.items():
                if _taken(file.fileno()):
                    yield Gpu({VISIBLE: name}, (file.fileno(),))
                    return
            time.sleep(SECONDS_BETWEEN_LOOKS)


def _file_name(gpu: str) -> str:
    return f"{socket.gethostname()}_{gpu.replace(os.sep, '_')}.lock"


def _taken(descriptor: int) -> bool:
    """Lock an open file, unless another process holds it; the system gives it back however the holders end."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
