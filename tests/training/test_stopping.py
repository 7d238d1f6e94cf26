"""SIGTERM in a training: what is saved, and what is said of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nnunetv2_mlbseg.progress.epoch import Epoch, PartialEpoch
from nnunetv2_mlbseg.runtime.stop_request import EXIT_CODE, StoppedBetweenStepsError
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.training.stopping import Stopping


@pytest.mark.parametrize(("disabled", "words"), [(False, "--c goes on from here"), (True, "nothing of it was saved")])
def test_only_what_was_saved_is_said_to_go_on(monkeypatch, disabled, words):
    said: list[str] = []
    saved: list[tuple[str, int]] = []
    monkeypatch.setattr(
        nnUNetTrainerMLBSeg, "save_checkpoint", lambda self, path: saved.append((path, self.current_epoch))
    )
    trainer: Any = object.__new__(nnUNetTrainerMLBSeg)
    trainer.disable_checkpointing, trainer.output_folder, trainer.current_epoch = disabled, "", 7
    trainer.stopping = Stopping(True, trainer._save_to_go_on, said.append)
    trainer.run = SimpleNamespace(epoch=Epoch(9, PartialEpoch([{}] * 2)), partial=None)
    trainer.run.epoch.outputs = [{}] * 3
    trainer.stop_if_asked()
    assert not said and not saved
    trainer.stopping.request.requested = True
    with pytest.raises(SystemExit) as end:
        trainer.stop_if_asked()
    assert end.value.code == EXIT_CODE
    assert said == [f"Stopped by SIGTERM in epoch 7 after iteration 5 of 9; {words}"]
    assert saved == [("checkpoint_latest.pth", 7)] and trainer.run.partial.iterations == 5


def _training(stopping: Stopping, within_step: bool = False) -> Any:
    """What `Stopping.around` looks at."""
    learning = SimpleNamespace(guard=SimpleNamespace(within_step=within_step))
    stop = lambda: stopping.if_asked(Epoch(9), 0)  # noqa: E731
    return SimpleNamespace(dataloader_train=None, dataloader_val=None, learning=learning, stop_if_asked=stop)


@pytest.mark.parametrize("error", [StoppedBetweenStepsError, RuntimeError])
def test_workers_that_died_of_the_signal_end_a_training_that_saves_first(error):
    saved: list[bool] = []
    stopping = Stopping(False, lambda complete: saved.append(complete) or "", lambda line: None)
    with pytest.raises(SystemExit), stopping.around(_training(stopping)):
        stopping.request.requested = True
        raise error
    assert saved == [False]


@pytest.mark.parametrize(("requested", "within_step"), [(False, False), (True, True)])
def test_an_error_that_the_signal_does_not_explain_or_within_a_step_is_no_stop(requested, within_step):
    """A step that was broken off may have left weights half updated: nothing of it is saved."""
    saved: list[bool] = []
    stopping = Stopping(False, lambda complete: saved.append(complete) or "", lambda line: None)
    with pytest.raises(RuntimeError, match="of its own"), stopping.around(_training(stopping, within_step)):
        stopping.request.requested = requested
        raise RuntimeError("of its own")
    assert not saved
