"""One function over many cases: their order, their errors, and a worker that is lost."""

from __future__ import annotations

import os

import pytest

from dataset_conversion.raw.parallel import (
    BYTES_OF_A_START,
    NNUNET_PROCESSES,
    default_processes,
    over_cases,
    processes_worth,
)
from noise_synthesis.safe_io.errors import InputError


def _pid() -> int:
    return os.getpid()


def test_results_keep_their_order_in_one_process():
    assert over_cases(divmod, [(7, 2), (9, 4)], 1, "dividing") == [(3, 1), (2, 1)]
    assert over_cases(_pid, [(), ()], 1, "asking") == [os.getpid()] * 2


def test_several_processes_keep_the_order_and_pass_on_an_error():
    assert over_cases(divmod, [(7, 2), (9, 4), (8, 3)], 2, "dividing") == [(3, 1), (2, 1), (2, 2)]
    with pytest.raises(ZeroDivisionError):
        over_cases(divmod, [(7, 0), (9, 4)], 2, "dividing")


def _end_abruptly(_: int) -> None:
    os._exit(3)


def test_a_lost_worker_is_one_clear_line():
    with pytest.raises(ValueError, match="a worker process ended abruptly while trying"):
        over_cases(_end_abruptly, [(1,), (2,)], 2, "trying")


def test_a_number_of_processes_that_is_none_is_one_line(monkeypatch):
    monkeypatch.setenv(NNUNET_PROCESSES, "two")
    with pytest.raises(InputError, match="nnUNet_def_n_proc=two: expected a number of processes"):
        default_processes()


def test_no_more_processes_than_there_is_to_read(tmp_path):
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(3 * BYTES_OF_A_START)
    assert [processes_worth(8, [path]), processes_worth(2, [path]), processes_worth(8, [tmp_path / "b"])] == [3, 2, 1]
