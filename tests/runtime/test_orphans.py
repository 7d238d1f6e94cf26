"""A killed training takes its augmentation workers along."""

from __future__ import annotations

import subprocess
import sys
import time

# Prints its workers' process numbers, and lives on until it is killed.
TRAINING = """
import os, time
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2_mlbseg.runtime import orphans

class Numbers:
    def set_thread_id(self, thread_id): pass
    def __next__(self): return {"worker": os.getpid()}

orphans.LOOK_EVERY_S = 0.05
augmenter = NonDetMultiThreadedAugmenter(orphans.EndsWithParent(Numbers()), None, 2, wait_time=0.002)
next(augmenter)
print(*(process.pid for process in augmenter._processes), flush=True)  # both, also one that has only just begun
time.sleep(100)
"""


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except OSError:
        return False


def test_workers_end_soon_after_their_training_was_killed():
    command = [sys.executable, "-W", "ignore", "-c", TRAINING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as training:
        assert training.stdout is not None
        workers = [int(word) for word in training.stdout.readline().split()]
        assert len(workers) == 2 and all(map(_alive, workers))
        training.kill()
    until = time.monotonic() + 20
    while any(map(_alive, workers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(_alive, workers))
