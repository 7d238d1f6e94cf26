"""OMP_NUM_THREADS holds for trainings on the CPU, and for nothing else."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg.runtime.threads import one_thread, use_requested_threads


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
