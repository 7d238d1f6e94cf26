"""OMP_NUM_THREADS holds for trainings on the CPU, and for nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nnunetv2_mlbseg.runtime.threads import PAGES, one_thread, use_large_pages, use_requested_threads


@pytest.mark.parametrize(
    ("value", "device", "threads"),
    [("1", "cpu", 1), ("3", "cpu", 3), ("0", "cpu", 2), ("a", "cpu", 2), ("1", "cuda", 2)],
)
def test_the_variable_decides_on_the_cpu(monkeypatch, value, device, threads):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    try:
        torch.set_num_threads(2)
        use_requested_threads(torch.device(device))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("before", "device", "after"), [(None, "cpu", "1"), ("0", "cpu", "0"), (None, "cuda", None)])
def test_large_pages_are_asked_for_on_the_cpu_unless_the_user_says_no(monkeypatch, before, device, after):
    monkeypatch.setenv(PAGES, before or "")
    if before is None:
        monkeypatch.delenv(PAGES)
    use_large_pages(torch.device(device))
    assert os.environ.get(PAGES) == after


COUNT = """
import os, resource, sys, torch
from nnunetv2_mlbseg.trainers import mlbseg
from nnunetv2_mlbseg.runtime.threads import use_large_pages
if sys.argv[1] == "large":
    use_large_pages(torch.device("cpu"))
torch.ones(2**20, dtype=torch.float32)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
"""
SYSTEM = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_after_all_imports_it_is_early_enough():
    """64 MB in pages of 4 KB are 16384 page faults, of 2 MB 32. Where the system does not ask, nothing differs."""
    environment = {name: value for name, value in os.environ.items() if name != PAGES}
    small, large = (
        int(subprocess.check_output([sys.executable, "-W", "ignore", "-c", COUNT, how], env=environment, text=True))
        for how in ("small", "large")
    )
    if SYSTEM.is_file() and "[madvise]" in SYSTEM.read_text():
        assert small > 10_000 and large < small / 2
    else:
        assert abs(small - large) < 2_000


def test_one_thread_holds_inside_of_a_block():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
