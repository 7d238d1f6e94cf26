"""What one iteration changes, in which order; heads beside the network; going on from a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from maths_support import small_network
from method_support import (
    START,
    CrossEntropy,
    TanhNetwork,
    drawn_batch,
    learning_of,
    mlbseg_step,
    parameters_of,
    take_guarded_step,
    take_step,
)
from run_state_example import STATE
from torch import nn

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.progress.run_state import RunState
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training.batch import Batch, Images
from nnunetv2_mlbseg.training.method import Method, Terms
from nnunetv2_mlbseg.training.stages import Draw, warm_up
from nnunetv2_mlbseg.training.task import Task

SETTINGS = TrainingSettings(seed=1, initial_lr=0.1)
CPU = torch.device("cpu")


class WithHead(Method):
    """A head that tells clean from imperfect images by the encoder's last map; it takes note of what is called."""

    def __init__(self, *parts: Any):
        super().__init__(*parts)
        self.order: list[str] = []

    @classmethod
    def modules(cls, settings, task):
        return nn.ModuleDict({"origin": nn.Linear(8, 2)})

    def mixed(self, batch):
        self.order.append("mixed")
        return Batch(Images(batch.clean.images + 1, batch.clean.target), batch.imperfect)

    def terms(self, batch, moment):
        self.order.append("terms")
        self.seen, self.weight = batch, self.passes.student_network.encoder.stages[0]
        outputs, found = self.passes.features(batch.clean.images)
        origin = self.heads["origin"](found.skips[-1].mean(dim=(2, 3)))
        return Terms({"supervised": self.passes.supervised(outputs, batch.clean.target), "origin": origin.sum()})

    def after_step(self):
        self.order.append("after_step")


def _with_head() -> Any:
    torch.manual_seed(0)
    return learning_of(WithHead, SETTINGS, small_network(), CrossEntropy())


def test_an_iteration_mixes_finds_terms_steps_and_tells_the_method_then_moves_the_teacher():
    learning, batch = _with_head(), drawn_batch()
    method, order = learning.method, learning.method.order
    optimizer, before = learning.passes.descent.optimizer, parameters_of(learning.student)
    optimizer.register_step_post_hook(lambda *_: order.append("step"))
    follow = learning.teacher.follow_
    learning.teacher.follow_ = lambda student: (order.append("teacher"), follow(student))
    found = take_guarded_step(learning, batch)
    assert order == ["mixed", "terms", "step", "after_step", "teacher"]
    assert torch.equal(method.seen.clean.images, batch["data"] + 1), "the terms see the mixed batch"
    assert float(found["loss"]) == pytest.approx(float(found["supervised"] + found["origin"]))
    assert float(found["skipped"]) == 0 and not any(value.requires_grad for value in found.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, learning.student.parameters(), strict=True))


def test_heads_join_the_optimiser_and_its_clipping():
    learning = _with_head()
    heads = parameters_of(learning.heads)
    take_step(learning, drawn_batch())
    assert all(not torch.equal(a, b) for a, b in zip(heads, learning.heads.parameters(), strict=True))
    parameters = learning.passes.descent.parameters
    assert len(parameters) == len([*learning.student.parameters(), *learning.heads.parameters()])


def test_a_teacher_does_not_follow_a_step_that_was_left_out():
    learning = mlbseg_step()
    teacher = parameters_of(learning.teacher.network)
    found = take_guarded_step(learning, {**drawn_batch(), "data": torch.full((2, 1, 12, 12), torch.nan)})
    assert float(found["skipped"]) == 1 and learning.teacher.step == 0
    assert all(torch.equal(a, b) for a, b in zip(teacher, learning.teacher.network.parameters(), strict=True))


def test_the_shared_step_of_nnunets_own_training_is_one_sgd_step_with_its_clip():
    learning, batch = mlbseg_step(), drawn_batch()
    reference = TanhNetwork()
    reference.load_state_dict(learning.student.state_dict())
    loss = CrossEntropy()(reference(batch["data"]), batch["target"])
    loss.backward()
    found = learning.supervised_step(Batch.of(batch, CPU), "warmup")
    assert found["loss"] == found["warmup"] == loss.detach()
    for ours, wanted in zip(learning.student.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours, wanted - 0.1 * wanted.grad, atol=1e-7)


def test_the_clean_gradient_is_that_of_the_loss_which_speaks_for_the_clean_cases():
    for name in ("dice_ce", "ce"):
        learning, batch = mlbseg_step(clean_loss=name), drawn_batch()
        learning.passes.losses = {
            "dice_ce": CrossEntropy(),
            "ce": lambda output, target: 2 * CrossEntropy()(output, target),
        }
        gradient = learning.clean_gradient(Batch.of(batch, CPU))
        loss = CrossEntropy()(learning.student(batch["data"]), batch["target"])
        expected = torch.autograd.grad(loss, list(learning.student.parameters()))
        for found, wanted in zip(gradient, expected, strict=True):
            torch.testing.assert_close(found, wanted * (2 if name == "ce" else 1))


def test_the_network_that_predicts_is_the_configured_one():
    for which in ("student", "teacher"):
        learning = mlbseg_step(inference_network=which)
        networks = {"student": learning.student, "teacher": learning.teacher.network}
        assert learning.for_inference is networks[which] is learning.named(which)


def test_all_that_learns_goes_on_from_a_checkpoint():
    first, other = _with_head(), _with_head()
    take_step(first, drawn_batch())
    first.teacher.follow_(first.student)
    heads = {name: value.clone() for name, value in first.heads.state_dict().items()}
    state = RunState(**{**STATE, "ema_step": 5, "generators": first.passes.generators.states()}, heads=heads)
    networks = {"student_weights": first.student.state_dict(), "teacher_weights": first.teacher.network.state_dict()}
    other.take(networks, state)
    assert other.teacher.step == 5
    for ours, theirs in ((first.student, other.student), (first.heads, other.heads)):
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    with pytest.raises(RuntimeError, match="Missing key"):
        other.take(networks, RunState(**STATE))


def test_a_stage_of_ones_own_needs_terms():
    bare = type("Bare", (Method,), {})
    learning = learning_of(bare, SETTINGS, TanhNetwork(), CrossEntropy())
    with pytest.raises(NotImplementedError, match="Bare has a stage of its own, but no terms"):
        learning.step(Batch.of(drawn_batch(), CPU), START)


def _three_classes(unshown: tuple[int, ...]) -> Any:
    settings = resolve(MLBSeg.Settings, {"seed": 1, "initial_lr": 0.1, "weight_decay": 0, "deep_supervision": False})
    task = Task(channels=1, classes=3, dims=2, noisy=1, unlabeled=1, ignore_label=None, unshown=unshown)
    return learning_of(MLBSeg, settings, small_network(classes=3), CrossEntropy(), task=task)


def _heads_after_warm_up(unshown: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, bool]:
    """The last layer's weights for each class before and after an iteration, and whether nnU-Net's own step took it."""
    learning, batch, asked = _three_classes(unshown), drawn_batch(), []

    def nnunets(loaded):
        asked.append(loaded)
        learning.passes.descent.step(CrossEntropy()(learning.student(loaded["data"]), loaded["target"]), 12.0)
        return {"loss": torch.zeros(())}

    head = learning.student.decoder.seg_layers[-1].weight
    before = head.detach().clone()
    learning.iteration(warm_up(learning.settings, 2), batch, START, nnunets)
    return before.flatten(1), head.detach().flatten(1), bool(asked)


def test_a_warm_up_on_noisy_labels_teaches_a_class_that_clean_cases_do_not_show():
    """Such a label counts there as it is, where it has no number among the classes of clean labels."""
    learning, batch = _three_classes((2,)), drawn_batch()
    given = replace(warm_up(learning.settings, 2), main=Draw(("clean", "noisy"), 2, "warmup_batch_size"))
    batch["target"] = torch.full_like(batch["target"], 2)
    head = learning.student.decoder.seg_layers[-1].weight
    before = learning.passes.student(batch["data"])[0].softmax(1)[:, 2].mean()
    for _ in range(3):
        learning.iteration(given, batch, START, lambda _: {})
    assert learning.passes.student(batch["data"])[0].softmax(1)[:, 2].mean() > before + 0.1
    assert not torch.equal(head[2], head[0])


def test_processes_go_on_with_the_draws_of_the_first_one(monkeypatch):
    learning, states = mlbseg_step(), []
    for amount in (3, 5):
        drawn = learning.passes.generators
        torch.rand(amount, generator=drawn.on_host("views"))
        states.append(drawn.states())
    monkeypatch.setattr(learning, "processes", Processes(1, 2))
    monkeypatch.setattr(Processes, "gather", lambda self, own: [states[0], own])
    learning.agree_on_draws()
    assert torch.equal(learning.passes.generators.states()["views"], states[0]["views"])
    assert not torch.equal(states[0]["views"], states[1]["views"])


def test_a_warm_up_leaves_a_class_that_clean_cases_do_not_show_as_probable_as_the_background():
    before, after, asked = _heads_after_warm_up((2,))
    assert not asked and torch.equal(after[2], after[0]) and not torch.equal(before[:2], after[:2])
    before, after, asked = _heads_after_warm_up(())
    assert asked and not torch.equal(before[2], after[2]), "nnU-Net's own step, where every class is shown"
