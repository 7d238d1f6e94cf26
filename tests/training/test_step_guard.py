"""Steps that are not finite are left out, counted, and end a training when hardly any other happens."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from method_support import CPU, NETWORKS, START, drawn_batch, mlbseg_step, pairs_of, same, state_of, take_step
from torch import nn

from nnunetv2_mlbseg.maths.mean_teacher import ema_update_
from nnunetv2_mlbseg.progress.epoch import Epoch
from nnunetv2_mlbseg.runtime.errors import TrainingStoppedError
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.training import passes as passes_module
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.step_guard import MOST_SKIPPED, Patience, StepGuard, refuse_non_finite
from nnunetv2_mlbseg.training.stopping import Stopping
from nnunetv2_mlbseg.training.whole_batch_loss import AnnotatedCrossEntropy


def _spoil_tangents(monkeypatch, network, spoil_) -> None:
    """Change the tangents in place that a step with this network gets."""
    name = {"forward mode": "logit_tangents", "replayed": "logits_with_tangents"}[network]
    original = getattr(passes_module, name)

    def spoilt(*args):
        logits, tangents = original(*args)
        spoil_(tangents)
        return logits, tangents

    monkeypatch.setattr(passes_module, name, spoilt)


def _run(learning: Learning, batch: dict) -> dict[str, float]:
    """A guarded step without the teacher's update."""
    with learning.guard.step():
        found = take_step(learning, batch)
    found["skipped"] = learning.guard.skipped()
    return {name: float(value) for name, value in found.items() if value.ndim == 0}


@pytest.mark.parametrize("key", ["data", "imperfect_data"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e12])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_bad_sample_leaves_weights_momentum_and_teacher_untouched(network, key, bad):
    learning, batch = mlbseg_step(network), drawn_batch()
    student, teacher, optimizer = learning.student, learning.teacher.network, learning.passes.descent.optimizer
    optimizer.param_groups[0]["momentum"] = 0.9
    assert _run(learning, batch)["skipped"] == 0
    weights, of_teacher = state_of(student), state_of(teacher)
    momentum = [state["momentum_buffer"].clone() for state in optimizer.state.values()]
    spoilt = {**batch, key: batch[key].clone()}
    spoilt[key][1, 0, 5, 5] = bad
    found = _run(learning, spoilt)
    if math.isfinite(bad):  # huge, but nothing overflows: a step like any other, with the gradient clipped
        assert found["skipped"] == 0 and not same(weights, student)
        return
    assert found["skipped"] == 1 and same(weights, student) and same(of_teacher, teacher)
    after = [state["momentum_buffer"] for state in optimizer.state.values()]
    assert len(momentum) == len(after) and all(map(torch.equal, momentum, after))
    ema_update_(teacher, student, 0.5)
    refuse_non_finite({"student": student, "teacher": teacher})
    assert _run(learning, batch)["skipped"] == 0, "the next good batch trains"
    assert not same(weights, student)


def _trainer(learning: Learning) -> nnUNetTrainerMLBSeg:
    """A trainer in a stage of the method, with what one training step needs."""
    trainer: Any = object.__new__(nnUNetTrainerMLBSeg)
    trainer.course, trainer.current_epoch = SimpleNamespace(stages=pairs_of(2)), 0
    trainer.learning, trainer.device, trainer.processes = learning, CPU, learning.processes
    trainer.run = SimpleNamespace(epoch=Epoch(9), moment=lambda number: START)
    trainer.stopping = Stopping(False, lambda complete: "", print)
    return trainer


def test_the_teacher_stays_where_a_step_is_left_out():
    learning, batch = mlbseg_step(), drawn_batch()
    learning.teacher.step = 1
    trainer, student, teacher = _trainer(learning), learning.student, learning.teacher.network
    before = state_of(teacher)
    trainer.train_step(batch)
    assert learning.teacher.step == 2 and not same(before, teacher)
    before = state_of(teacher)
    assert not same(before, student), "an update would move the teacher"
    trainer.train_step({**batch, "data": torch.full_like(batch["data"], math.nan)})
    assert trainer.run.epoch.outputs[-1]["skipped"] == 1
    assert learning.teacher.step == 2 and same(before, teacher)
    trainer.train_step(batch)
    assert learning.teacher.step == 3 and not same(before, teacher)


def test_a_step_that_the_gradient_scaler_leaves_out_is_noticed():
    network = nn.Linear(1, 1)
    optimizer, scaler = torch.optim.SGD(network.parameters(), 0.1), torch.amp.GradScaler("cpu", init_scale=2.0)
    guard, found = StepGuard(optimizer, network, scaled=True), []
    for value in (1.0, math.inf, 1.0):
        with guard.step():
            optimizer.zero_grad()
            scaler.scale(network(torch.full((1, 1), value)).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append((guard.left_out, bool(guard.skipped())))
    assert found == [(False, False), (True, True), (False, False)]


@pytest.mark.parametrize("network", NETWORKS)
def test_an_exploding_loss_is_clipped_or_left_out_but_never_ends_in_nan(network):
    learning, batch = mlbseg_step(network, initial_lr=9.9, momentum=0.9, gradient_clip=1e5), drawn_batch()
    huge = {**batch, "data": batch["data"] * 1e18, "imperfect_data": batch["imperfect_data"] * 1e18}
    before = state_of(learning.student)
    for _ in range(10):
        skipped = _run(learning, huge)["skipped"]
        assert skipped == same(before, learning.student), "clipped, it moves; left out, it does not"
        before = state_of(learning.student)
        assert all(torch.isfinite(value).all() for value in before)


@pytest.mark.parametrize("network", NETWORKS)
def test_all_weights_zero_is_counted_and_the_other_terms_train_on(monkeypatch, network):
    """The clean gradient agrees with no pixel's label."""
    learning = mlbseg_step(network, weighting="meta")
    _spoil_tangents(monkeypatch, network, torch.Tensor.zero_)
    weights = state_of(learning.student)
    found = _run(learning, drawn_batch())
    assert found["no_weight"] == 1 and found["bootstrap"] == 0 and found["skipped"] == 0
    assert math.isfinite(found["loss"]) and not same(weights, learning.student)


@pytest.mark.parametrize("weighting", ["meta", "tied"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("network", NETWORKS)
def test_an_overflow_in_the_tangent_counts_as_no_weight_there(monkeypatch, network, bad, weighting):
    learning = mlbseg_step(network, weighting=weighting)
    _spoil_tangents(monkeypatch, network, lambda tangents: tangents[0, :, 3, 3].fill_(bad))
    found = _run(learning, drawn_batch())
    assert found["weight_overflow"] == 1 and found["no_weight"] == 0 and found["skipped"] == 0
    assert all(map(math.isfinite, found.values()))
    refuse_non_finite({"student": learning.student})


@pytest.mark.parametrize("clean_loss", ["dice_ce", "ce"])
@pytest.mark.parametrize("value", [0, 2])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_clean_batch_without_foreground_or_annotation_is_counted_and_trains_on(network, clean_loss, value):
    """2 is the ignore label of the batch: no pixel is annotated then, and the clean gradient is zero."""
    learning, batch = mlbseg_step(network, clean_loss=clean_loss, weighting="meta"), drawn_batch()
    learning.passes.losses = dict.fromkeys(("dice_ce", "ce"), AnnotatedCrossEntropy(ignore_label=2))
    batch["target"] = torch.full_like(batch["target"], value)
    found = _run(learning, batch)
    assert found["no_foreground"] == 1 and found["skipped"] == 0
    assert found["no_weight"] == (1 if value == 2 else 0)
    assert all(map(math.isfinite, found.values()))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_record_of_disputes_stays_finite(network):
    learning, batch = mlbseg_step(network, weighting="tied"), drawn_batch()
    _run(learning, {**batch, "imperfect_data": batch["imperfect_data"] * math.nan})
    _run(learning, batch)
    disputes = learning.method.memory.disputes
    good = disputes.state()
    assert all(torch.isfinite(table).all() for table in good.values())
    spoilt = replace(disputes, gain=disputes.gain * math.inf)
    kept = spoilt.unless_spoilt(disputes).state()
    assert all(torch.equal(kept[name], table) for name, table in good.items())
    assert not any(table.any() for table in spoilt.unless_spoilt(None).state().values())


def test_running_statistics_stay_finite_and_otherwise_move():
    norm = nn.BatchNorm1d(3)
    guard = StepGuard(torch.optim.SGD(norm.parameters(), 0.1), norm, scaled=False)
    with guard.step():
        norm(torch.randn(8, 3))
    moved = norm.running_mean.clone()
    assert not torch.equal(moved, torch.zeros(3))
    with guard.step():
        norm(torch.full((8, 3), math.nan))
    assert torch.equal(norm.running_mean, moved) and torch.isfinite(norm.running_var).all()


def test_the_scaler_leaves_such_a_step_out_and_it_is_counted():
    """The path of CUDA, with a gradient scaler on the CPU."""
    network = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    guard = StepGuard(optimizer, network, scaled=True)
    for bad, expected in ((1.0, 0), (math.nan, 1), (2.0, 0)):
        before = state_of(network)
        with guard.step():
            optimizer.zero_grad()
            scaler.scale(network(torch.tensor([[bad, 1.0]])).sum()).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
            scaler.step(optimizer)
            scaler.update()
        assert float(guard.skipped()) == expected
        assert same(before, network) == bool(expected)


def test_patience_ends_with_mostly_vain_steps_and_a_good_epoch_restores_it():
    patience = Patience()
    patience.judge(0, skipped=12, steps=250)
    for epoch in range(5):
        patience.judge(epoch, skipped=3, steps=3)
    patience.judge(5, skipped=1, steps=3)
    assert patience.in_vain == 0
    patience.judge(6, skipped=MOST_SKIPPED - 1, steps=20)
    with pytest.raises(TrainingStoppedError, match="epoch 7: 2 of 3 steps were left out"):
        patience.judge(7, skipped=2, steps=3)


def test_non_finite_weights_are_refused_by_name():
    network = nn.Linear(2, 2)
    refuse_non_finite({"student": network})
    with torch.no_grad():
        network.bias[1] = math.inf
    with pytest.raises(TrainingStoppedError, match=r"1 of 2 tensors of the teacher .* the first is bias"):
        refuse_non_finite({"student": nn.Linear(2, 2), "teacher": network})
