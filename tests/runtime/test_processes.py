"""Several processes on shares of a batch compute what one computes on the whole of it."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg.runtime.processes import Processes
from noise_synthesis.safe_io.errors import InputError


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_are_as_equal_as_possible_and_make_up_the_whole(count):
    things = list(range(7))
    shares = [things[Processes(rank, count).share(7)] for rank in range(count)]
    assert [thing for share in shares for thing in share] == things
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert sorted(thing for rank in range(count) for thing in Processes(rank, count).part(things)) == things


def test_a_batch_smaller_than_the_number_of_processes_is_one_line():
    Processes(0, 2).check_batch(2, "imperfect_batch_size")
    with pytest.raises(InputError, match="imperfect_batch_size: 2 images cannot be divided among 3 processes"):
        Processes(0, 3).check_batch(2, "imperfect_batch_size")


def test_one_process_leaves_everything_alone():
    alone, tensor = Processes(), torch.ones(2)
    assert alone.total(tensor) is tensor and alone.average([tensor, None])[0] is tensor
    outputs = [{"loss": tensor}]
    assert alone.gather("a") == ["a"] and alone.add_up(outputs) is outputs
    with alone.first_alone():
        alone.wait()
