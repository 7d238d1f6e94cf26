"""SIGTERM: the process ends soon, at a place where its state is whole, and says so by its exit code."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from nnunetv2_mlbseg.runtime.stop_request import EXIT_CODE, StoppedBetweenStepsError, StopRequest


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
