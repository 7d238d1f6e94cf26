"""SIGTERM: the process ends soon, at a place where its state is whole, and says so by its exit code."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import torch

from nnunetv2_mlbseg.progress import epoch_means
from nnunetv2_mlbseg.stopping import EXIT_CODE, PartialEpoch, StoppedBetweenStepsError, StopRequest, as_array


def _term() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_outside_an_epoch_the_process_ends_at_once():
    stop = StopRequest()
    with pytest.raises(SystemExit) as end, stop.listening():
        _term()
        pytest.fail("went on")
    assert end.value.code == EXIT_CODE == 143


def test_within_an_epoch_the_request_waits_and_repeating_it_changes_nothing():
    stop = StopRequest()
    with stop.listening():
        stop.deferred = True
        _term()
        _term()
        assert stop.requested
    assert not stop.deferred


def test_work_that_needs_no_farewell_is_left_at_once():
    stop = StopRequest()
    with pytest.raises(SystemExit), stop.listening():
        stop.deferred = True
        with stop.at_once():
            _term()
            pytest.fail("went on")
    stop = StopRequest()
    with stop.listening():
        stop.deferred = True
        _term()
        with pytest.raises(SystemExit), stop.at_once():
            pytest.fail("began")


def test_waiting_for_workers_that_may_be_dead_is_given_up():
    stop = StopRequest()
    with stop.listening():
        stop.deferred = True
        stop.wait_for_batches(of_workers=False)
        _term()
        assert stop.requested
        with pytest.raises(StoppedBetweenStepsError):
            stop.wait_for_batches(of_workers=True)
        stop.requested = False
        stop.wait_for_batches(of_workers=True)
        with pytest.raises(StoppedBetweenStepsError):
            _term()
        _term()
        assert stop.requested


def test_the_handler_of_before_is_back_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest().listening():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_leave_the_signal_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def listen() -> None:
        with StopRequest().listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_forked_worker_dies_of_the_signal():
    with StopRequest().listening():
        heard, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(said, b"ready")  # a signal during the fork itself would be lost
            time.sleep(30)
            os._exit(0)
        os.read(heard, 5)
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


def test_a_partial_epoch_comes_back_with_equal_values():
    outputs = [{"loss": torch.tensor(0.1 * i), "by_view": torch.rand(5), "warmup": 0.5 + i} for i in range(3)]
    back = PartialEpoch.from_state(PartialEpoch(outputs).state())
    assert epoch_means(back.outputs) == epoch_means(outputs) == epoch_means([*back.outputs[:1], *outputs[1:]])
    assert PartialEpoch.from_state(PartialEpoch([]).state()).outputs == []


class _OnMps(torch.Tensor):
    """Stands for a tensor on Apple's GPU: no double precision there, any number once it is on the host."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.double:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        found = super().__torch_function__(function, types, args, kwargs or {})
        return found.as_subclass(torch.Tensor) if function is torch.Tensor.cpu else found


def test_values_of_a_device_without_double_precision_are_read():
    values = [torch.tensor([0.1, 2.0]).as_subclass(_OnMps), [3.0, 4.0]]
    found = as_array(values)
    assert found.dtype == "float64"
    assert found.tolist() == [torch.tensor([0.1, 2.0]).tolist(), [3.0, 4.0]]
