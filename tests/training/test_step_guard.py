"""Steps that are not finite are left out, counted, and end a training when hardly any other happens."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from test_bootstrapping import NETWORKS, _step
from torch import nn

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.maths.mean_teacher import ema_update_
from nnunetv2_mlbseg.methods.mlbseg import method as bootstrap_step_module
from nnunetv2_mlbseg.progress.epoch_log import hold_undefined_dice
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.runtime.stop_request import StopRequest
from nnunetv2_mlbseg.trainers.mlbseg import nnUNetTrainerMLBSeg
from nnunetv2_mlbseg.training.step_guard import (
    MOST_SKIPPED,
    Patience,
    StepGuard,
    TrainingStoppedError,
    refuse_non_finite,
)
from nnunetv2_mlbseg.training.whole_batch_loss import AnnotatedCrossEntropy


def _state(module: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def _same(before: list[torch.Tensor], module: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, module.state_dict().values(), strict=True))


def _guarded(step) -> StepGuard:
    return StepGuard(step.descent.optimizer, step.student, scaled=False)


def _spoil_tangents(monkeypatch, network, spoil_) -> None:
    """Change the tangents in place that a step with this network gets."""
    name = {"forward mode": "logit_tangents", "replayed": "logits_with_tangents"}[network]
    original = getattr(bootstrap_step_module, name)

    def spoilt(*args):
        logits, tangents = original(*args)
        spoil_(tangents)
        return logits, tangents

    monkeypatch.setattr(bootstrap_step_module, name, spoilt)


def _run(step, guard: StepGuard, batch) -> dict[str, float]:
    with guard.step():
        found = step(batch)
    found["skipped"] = guard.skipped()
    return {name: float(value) for name, value in found.items() if value.ndim == 0}


@pytest.mark.parametrize("key", ["data", "imperfect_data"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e12])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_bad_sample_leaves_weights_momentum_and_teacher_untouched(network, key, bad):
    step, batch = _step(network)
    step.descent.optimizer.param_groups[0]["momentum"] = 0.9
    guard = _guarded(step)
    assert _run(step, guard, batch)["skipped"] == 0
    weights, teacher = _state(step.student), _state(step.teacher)
    momentum = [state["momentum_buffer"].clone() for state in step.descent.optimizer.state.values()]
    spoilt = {**batch, key: batch[key].clone()}
    spoilt[key][1, 0, 5, 5] = bad
    found = _run(step, guard, spoilt)
    if math.isfinite(bad):  # huge, but nothing overflows: a step like any other, with the gradient clipped
        assert found["skipped"] == 0 and not _same(weights, step.student)
        return
    assert found["skipped"] == 1 and _same(weights, step.student) and _same(teacher, step.teacher)
    after = [state["momentum_buffer"] for state in step.descent.optimizer.state.values()]
    assert len(momentum) == len(after) and all(map(torch.equal, momentum, after))
    ema_update_(step.teacher, step.student, 0.5)
    refuse_non_finite({"student": step.student, "teacher": step.teacher})
    assert _run(step, guard, batch)["skipped"] == 0, "the next good batch trains"
    assert not _same(weights, step.student)


def _trainer(step) -> nnUNetTrainerMLBSeg:
    """A trainer in the bootstrapping, with what one training step needs."""
    trainer = object.__new__(nnUNetTrainerMLBSeg)
    trainer.config, trainer.current_epoch = replace(step.config, warmup_epochs=0), 0
    trainer.stop, trainer.processes, trainer.dataloader_train = StopRequest(), Processes(), None
    trainer.bootstrap_step, trainer.step_guard = step, _guarded(step)
    trainer.roles = FoldRoles((), (), (), ())
    trainer.network, trainer.teacher = step.student, step.teacher
    trainer.ema_step, trainer._outputs = 1, []
    return trainer


def test_the_teacher_stays_where_a_step_is_left_out():
    step, batch = _step()
    trainer = _trainer(step)
    before = _state(step.teacher)
    trainer.train_step(batch)
    assert trainer.ema_step == 2 and not _same(before, step.teacher)
    before = _state(step.teacher)
    assert not _same(before, step.student), "an update would move the teacher"
    trainer.train_step({**batch, "data": torch.full_like(batch["data"], math.nan)})
    assert trainer._outputs[-1]["skipped"] == 1
    assert trainer.ema_step == 2 and _same(before, step.teacher)
    trainer.train_step(batch)
    assert trainer.ema_step == 3 and not _same(before, step.teacher)


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
    step, batch = _step(network, initial_lr=9.9, momentum=0.9, gradient_clip=1e5)
    guard = _guarded(step)
    huge = {**batch, "data": batch["data"] * 1e18, "imperfect_data": batch["imperfect_data"] * 1e18}
    before = _state(step.student)
    for _ in range(10):
        skipped = _run(step, guard, huge)["skipped"]
        assert skipped == _same(before, step.student), "clipped, it moves; left out, it does not"
        before = _state(step.student)
        assert all(torch.isfinite(value).all() for value in before)


@pytest.mark.parametrize("network", NETWORKS)
def test_all_weights_zero_is_counted_and_the_other_terms_train_on(monkeypatch, network):
    """The clean gradient agrees with no pixel's label."""
    step, batch = _step(network, weighting="meta")
    _spoil_tangents(monkeypatch, network, torch.Tensor.zero_)
    weights = _state(step.student)
    found = _run(step, _guarded(step), batch)
    assert found["no_weight"] == 1 and found["bootstrap"] == 0 and found["skipped"] == 0
    assert math.isfinite(found["loss"]) and not _same(weights, step.student)


@pytest.mark.parametrize("weighting", ["meta", "tied"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("network", NETWORKS)
def test_an_overflow_in_the_tangent_counts_as_no_weight_there(monkeypatch, network, bad, weighting):
    step, batch = _step(network, weighting=weighting)
    _spoil_tangents(monkeypatch, network, lambda tangents: tangents[0, :, 3, 3].fill_(bad))
    found = _run(step, _guarded(step), batch)
    assert found["weight_overflow"] == 1 and found["no_weight"] == 0 and found["skipped"] == 0
    assert all(map(math.isfinite, found.values()))
    refuse_non_finite({"student": step.student})


@pytest.mark.parametrize("clean_loss", ["dice_ce", "ce"])
@pytest.mark.parametrize("value", [0, 2])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_clean_batch_without_foreground_or_annotation_is_counted_and_trains_on(network, clean_loss, value):
    """2 is the ignore label of the batch: no pixel is annotated then, and the clean gradient is zero."""
    step, batch = _step(network, clean_loss=clean_loss, weighting="meta")
    step.clean_loss = AnnotatedCrossEntropy(ignore_label=2)
    batch["target"] = torch.full_like(batch["target"], value)
    found = _run(step, _guarded(step), batch)
    assert found["no_foreground"] == 1 and found["skipped"] == 0
    assert found["no_weight"] == (1 if value == 2 else 0)
    assert all(map(math.isfinite, found.values()))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_record_of_disputes_stays_finite(network):
    step, batch = _step(network, weighting="tied")
    guard = _guarded(step)
    _run(step, guard, {**batch, "imperfect_data": batch["imperfect_data"] * math.nan})
    _run(step, guard, batch)
    good = step.disputes.state()
    assert all(torch.isfinite(table).all() for table in good.values())
    spoilt = replace(step.disputes, gain=step.disputes.gain * math.inf)
    kept = spoilt.unless_spoilt(step.disputes).state()
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
        before = _state(network)
        with guard.step():
            optimizer.zero_grad()
            scaler.scale(network(torch.tensor([[bad, 1.0]])).sum()).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
            scaler.step(optimizer)
            scaler.update()
        assert float(guard.skipped()) == expected
        assert _same(before, network) == bool(expected)


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


@pytest.mark.parametrize(("running", "expected"), [([math.nan], 0.0), ([0.5, math.nan], 0.5), ([0.5, 0.6], None)])
def test_an_undefined_dice_does_not_spoil_the_running_mean(running, expected):
    series = {"mean_fg_dice": list(running), "ema_fg_dice": list(running)}
    logger = SimpleNamespace(get_value=lambda key, step: series[key])
    assert hold_undefined_dice(logger) == expected
    if expected is not None:
        assert series["ema_fg_dice"][-1] == series["mean_fg_dice"][-1] == expected
