"""SIGTERM: the process ends soon, at a place where its state is whole, and says so by its exit code."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunetv2_mlbseg.progress.epoch_log import EpochLog, epoch_means
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.runtime.stop_request import (
    EXIT_CODE,
    PartialEpoch,
    StoppedBetweenStepsError,
    StopRequest,
    as_array,
)
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.training.step_guard import Patience


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


OTHER_OUTPUTS = {"views": {"by_view": torch.rand(3)}, "terms": {"teacher": torch.tensor(2.0)}}


@pytest.mark.parametrize("changed", OTHER_OUTPUTS)
def test_iterations_of_another_configuration_count_and_their_outputs_are_left_out(changed):
    """Other views give vectors of another length, a term switched on or off other names."""
    before = PartialEpoch([{"loss": torch.tensor(5.0), "by_view": torch.rand(5)}] * 3)
    own = [{"loss": torch.tensor(1.0), "by_view": torch.rand(5), **OTHER_OUTPUTS[changed]}] * 2
    epoch = PartialEpoch.from_state(before.state()).followed_by(own)
    assert (epoch.iterations, epoch.forgotten) == (5, 3)
    assert epoch_means(epoch.outputs)["loss"] == 1
    again = PartialEpoch.from_state(epoch.state())
    assert again.iterations == 5 and epoch_means(again.outputs) == epoch_means(own)
    assert again.followed_by(own).iterations == 7 and len(again.followed_by(own).outputs) == 4
    assert again.followed_by([]).iterations == 5


def test_outputs_of_before_are_of_the_whole_batch_and_enter_once_where_processes_share_it(monkeypatch):
    """One process stopped after a step with loss 4; each of two then does two steps whose shares are 1 and 2."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    logged = []
    monkeypatch.setattr(nnUNetTrainer, "on_train_epoch_end", lambda self, outputs: logged.extend(outputs))
    trainer = object.__new__(nnUNetTrainerMLBSeg)
    trainer.stop, trainer.processes, trainer.patience = StopRequest(), Processes(0, 2), Patience()
    trainer.epoch_log, trainer.current_epoch, trainer.local_rank = EpochLog(), 0, 1
    zero = torch.tensor(0.0)
    trainer._before = PartialEpoch([{"loss": 4.0, "skipped": 0.0}])
    trainer._outputs = [{"loss": torch.tensor(share), "skipped": zero} for share in (1.0, 2.0)]
    trainer.on_train_epoch_end([])
    assert logged == [{"loss": (4 + 2 + 4) / 3}]
    trainer._outputs = []  # stopped in the validation: no step is left
    trainer.on_train_epoch_end([])
    assert logged[1:] == [{"loss": 4}]


@pytest.mark.parametrize(("disabled", "words"), [(False, "--c goes on from here"), (True, "nothing of it was saved")])
def test_only_what_was_saved_is_said_to_go_on(monkeypatch, disabled, words):
    said: list[str] = []
    monkeypatch.setattr(nnUNetTrainerMLBSeg, "print_to_log_file", lambda self, line: said.append(line))
    monkeypatch.setattr(nnUNetTrainerMLBSeg, "save_checkpoint", lambda self, path: None)
    trainer = object.__new__(nnUNetTrainerMLBSeg)
    trainer.stop, trainer.disable_checkpointing, trainer.output_folder = StopRequest(), disabled, ""
    trainer._before, trainer._outputs, trainer._validation_began = PartialEpoch([{}] * 2), [{}] * 3, None
    trainer.current_epoch, trainer._iterations = 7, 9
    trainer._stop_if_asked()
    assert not said
    trainer.stop.requested = True
    with pytest.raises(SystemExit):
        trainer._stop_if_asked()
    assert said == [f"Stopped by SIGTERM in epoch 7 after iteration 5 of 9; {words}"]


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
