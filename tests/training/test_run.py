"""How far a training is: moments, seeds, the epoch that goes on, and what a checkpoint takes and gives."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from method_support import drawn_batch, mlbseg_step, take_step
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from run_state_example import STATE

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.progress.epoch import Epoch, PartialEpoch
from nnunetv2_mlbseg.progress.run_state import RunState
from nnunetv2_mlbseg.runtime import random_state
from nnunetv2_mlbseg.runtime.errors import TrainingStoppedError
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.training.course import Course
from nnunetv2_mlbseg.training.method import Moment
from nnunetv2_mlbseg.training.run import Run
from nnunetv2_mlbseg.training.stages import Stages

ROLES = FoldRoles(("c0",), ("n0",), ("u0",), ("v0",))


def _run(processes: Processes | None = None, **values: Any) -> tuple[Run, list[str]]:
    """Two epochs of warm-up and three of bootstrapping, five iterations each; and the lines that it reports."""
    said: list[str] = []
    length = {"warmup_epochs": 2, "epochs": 3, "iterations_per_epoch": 5, "seed": 4}
    settings = resolve(MLBSeg.Settings, {**length, **values})
    stages, cases = Stages(MLBSeg.stages(settings, 4, ROLES)), SimpleNamespace(roles=ROLES)
    course = Course(settings, MLBSeg, cases, stages, processes or Processes())
    return Run(course, said.append), said


def _outputs(count: int) -> list[dict[str, float]]:
    return [{"loss": 1.0, "skipped": 0.0}] * count


def test_a_moment_counts_the_iterations_of_its_stage():
    run, _ = _run()
    run.begin(3, "unread")
    stage = "bootstrapping"
    assert run.moment(3) == Moment(began=5, now=5, all=15, stage=stage, of_training=0.6)
    assert run.moment(3).share == 1 / 3
    run.epoch.outputs = _outputs(2)
    assert run.moment(3) == Moment(5, 7, 15, stage, 3.4 / 5)
    assert run.moment(2) == Moment(0, 2, 15, stage, 2.4 / 5), "the first epoch of the bootstrapping"
    assert run.moment(1) == Moment(5, 7, 10, "warm-up", 1.4 / 5), "the warm-up has a length of its own"


def test_an_epoch_goes_on_where_it_was_stopped_and_only_once():
    run, _ = _run()
    run.partial = PartialEpoch(_outputs(3))
    assert run.labels_in_use(2)
    assert run.begin(2, "unread").left == 2 and run.moment(2).now == 3
    assert run.partial is None and run.begin(3, "unread").left == 5
    assert not run.labels_in_use(2) and run.labels_in_use(3)


def test_seeds_differ_between_epochs_and_processes():
    run, second = _run()[0], _run(Processes(1, 2))[0]
    assert run.seed_of(3) == (4, 3) and second.seed_of(3) == (4, 3, 1)
    assert _run(seed=None)[0].seed_of(3) is None


def test_the_global_random_state_of_a_checkpoint_waits_until_the_epoch_begins():
    """Building the loaders draws in between. Processes but the first begin every epoch from seeds of their own."""
    state = RunState(**{**STATE, "random_state": random_state.capture()})
    expected = random.random()
    run, _ = _run()
    run.take(state)
    random.random()
    run.begin(2, "unread")
    assert random.random() == expected
    drawn = []
    for number in (2, 2, 3):
        _run(Processes(1, 2))[0].begin(number, "unread")
        drawn.append(random.random())
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_a_checkpoint_takes_it_gives_back():
    run, said = _run()
    run.log.record(0, {"warmup": 0.5})
    run.labels_from, run.epoch = "0123", Epoch(5)
    learning = mlbseg_step()
    take_step(learning, drawn_batch())
    state = run.state(run.stages.at(2), learning, own_network=True)
    assert (state.stage, state.own_network, state.ema_step, state.partial_epoch) == ("bootstrapping", True, 0, None)
    assert state.roles["noisy"] == ("n0",) and state.method.keys() == {"disputes", "shares"}
    other, said = _run()
    other.take(RunState.unpacked(state.packed()))
    assert other.log.values["warmup"] == [0.5] and other.labels_from == "0123" and not said


def test_a_stopped_epoch_stores_where_its_validation_began():
    run, _ = _run()
    run.partial = PartialEpoch(_outputs(1), random_state={"of": "validation"})
    state = run.state(run.stages.at(0), mlbseg_step(), own_network=False)
    assert state.random_state == {"of": "validation"} and state.partial_epoch is run.partial
    run.partial = PartialEpoch(_outputs(1))
    assert run.state(run.stages.at(0), mlbseg_step(), own_network=False).random_state.keys() == {
        *("python", "numpy", "torch", "cuda")
    }


def test_settings_that_have_changed_since_the_checkpoint_are_said():
    run, said = _run(momentum=0.5)
    then = resolve(MLBSeg.Settings, {"warmup_epochs": 2, "epochs": 3, "iterations_per_epoch": 5, "seed": 4}).as_dict()
    run.take(RunState(**{**STATE, "config": then}))
    assert said == ["Configuration changed since the checkpoint (now, then): {'momentum': (0.5, 0.99)}"]


def test_the_log_says_what_begins_and_goes_on():
    run, said = _run()
    learning = mlbseg_step(generated_weight=1.0, generated_ramp_up=0)
    run.begin(0, "unread")
    run.enter(0, learning)
    run.partial = PartialEpoch(_outputs(2))
    run.begin(2, "unread")
    run.enter(2, learning)
    assert said == [
        "Stage: warm-up, 5 iterations",
        "Stage: bootstrapping, 5 iterations, continuing after iteration 2, weight of generated labels 1",
    ]


def test_an_epoch_with_forgotten_iterations_says_so_and_one_in_vain_ends_the_training():
    run, said = _run()
    run.epoch = Epoch(45, PartialEpoch([{"loss": 9.0}] * 5))
    run.epoch.outputs = [{"loss": 1.0, "skipped": 1.0}] * 40
    means = run.summarize()
    assert said == [
        "The first 5 iterations ran under another configuration; the epoch's values are means over the other 40"
    ]
    assert means.values.pop("loss") == 1
    with pytest.raises(TrainingStoppedError, match="epoch 2: 40 of 40 steps were left out"):
        run.record(2, means)
    assert run.log.values["skipped"] == [None, None, 1.0] and said[1:] == ["share of steps: skipped 1"]


def test_nnunet_logs_the_loss_of_the_whole_epoch(monkeypatch):
    """One process stopped after a step with loss 4; each of two then does two steps whose shares are 1 and 2."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.mul_(2))
    logged: list[dict] = []
    monkeypatch.setattr(nnUNetTrainer, "on_train_epoch_end", lambda self, outputs: logged.extend(outputs))
    trainer: Any = object.__new__(nnUNetTrainerMLBSeg)
    trainer.run, _ = _run(Processes(0, 2))
    trainer.current_epoch, zero = 0, torch.tensor(0.0)
    trainer.run.epoch = Epoch(3, PartialEpoch([{"loss": 4.0, "skipped": 0.0}]))
    trainer.run.epoch.outputs = [{"loss": torch.tensor(share), "skipped": zero} for share in (1.0, 2.0)]
    trainer.on_train_epoch_end([])
    assert logged == [{"loss": (4 + 2 + 4) / 3}]
    trainer.run.epoch.outputs = []  # stopped in the validation: no step is left
    trainer.on_train_epoch_end([])
    assert logged[1:] == [{"loss": 4}]
