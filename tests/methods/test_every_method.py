"""What holds for every method: finite, each term can be switched off, gradient where it belongs, exact resume."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from maths_support import small_network
from method_support import (
    CrossEntropy,
    drawn_batch,
    learning_of,
    parameters_of,
    saving_of,
    take_guarded_step,
    take_step,
)
from torch import nn

from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.progress import checkpoint
from nnunetv2_mlbseg.progress.epoch_log import EpochLog
from nnunetv2_mlbseg.progress.values import epoch_means
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.settings.rules import number
from nnunetv2_mlbseg.settings.training import TrainingSettings
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Method, Moment, Terms

pytestmark = pytest.mark.usefixtures("sure_of_all")
MOMENT = Moment(500, 500, 1000)


class EntropySettings(TrainingSettings):
    entropy_weight: float = number(0.1, least=0)
    """Factor of the entropy."""


class Entropy(Method):
    """Entropy minimisation: certain predictions on imperfect images, whose labels take no part."""

    Settings = EntropySettings
    quantities: ClassVar = {"supervised": "clean batch", "entropy": "entropy"}

    def terms(self, batch, moment):
        clean = self.passes.student(batch.clean.images)
        p = self.passes.student(batch.imperfect.images)[0].softmax(dim=1)
        entropy = -(p * p.clamp_min(1e-8).log()).sum(dim=1).mean()
        entropy = self.settings.entropy_weight * moment.share * entropy
        return Terms({"supervised": self.passes.supervised(clean, batch.clean.target), "entropy": entropy})


class OriginSettings(TrainingSettings):
    teacher_weight: float = number(1.0, least=0)
    """Factor of the consistency with the teacher."""
    origin_weight: float = number(0.5, least=0)
    """Factor of the head's loss."""


class Origin(Method):
    """A mean teacher, and a head that tells imperfect images from clean ones; it draws noise and counts its steps."""

    Settings = OriginSettings
    quantities: ClassVar = {"supervised": "clean batch", "teacher": "consistency", "origin": "head"}
    steps = torch.zeros(())

    @classmethod
    def modules(cls, settings, task):
        return nn.ModuleDict({"origin": nn.Linear(4, 2)})

    def terms(self, batch, moment):
        noise = torch.randn(batch.imperfect.images.shape, generator=self.passes.generators.on_host("origin"))
        outputs, found = self.passes.features(batch.imperfect.images + 0.1 * noise)
        teacher = self.passes.teacher(batch.imperfect.images, noise=0.1)
        consistency = (outputs[0].softmax(dim=1) - teacher).square().mean()
        origin = self.heads["origin"](found.last.mean(dim=(2, 3)) * (1 + self.steps))
        loss = nn.functional.cross_entropy(origin, torch.ones(len(origin), dtype=torch.int64))
        supervised = self.passes.supervised(self.passes.student(batch.clean.images), batch.clean.target)
        weights = self.settings.teacher_weight, self.settings.origin_weight
        return Terms({"supervised": supervised, "teacher": weights[0] * consistency, "origin": weights[1] * loss})

    def after_step(self):
        self.steps = self.steps + 1

    def state(self):
        return {"steps": self.steps}

    def load_state(self, state):
        self.steps = state["steps"]


@dataclass(frozen=True)
class Trained:
    """A method as it is trained here. ``terms``: the key of each term's weight."""

    method: type[Method]
    terms: Mapping[str, str]
    values: Mapping[str, Any]

    def begin(self, **changes: Any) -> Learning:
        values = {"seed": 3, "initial_lr": 0.05, **self.values, **changes}
        settings = resolve(self.method.Settings, values)
        torch.manual_seed(0)
        return learning_of(self.method, settings, small_network(), CrossEntropy(), momentum=0.9)


OF_MLBSEG = {
    **{"bootstrap": "bootstrap_weight", "dice": "mixture_dice_weight", "views": "consistency_weight"},
    **{"teacher": "teacher_weight", "strong": "strong_weight", "supervised": "supervised_weight"},
}
METHODS = {
    **{name: Trained(MLBSeg, OF_MLBSEG, {"weighting": name}) for name in ("tied", "meta", "uniform")},
    "entropy": Trained(Entropy, {"entropy": "entropy_weight"}, {}),
    "origin": Trained(Origin, {"teacher": "teacher_weight", "origin": "origin_weight"}, {}),
}


every_method = pytest.mark.parametrize("trained", METHODS.values(), ids=METHODS)


@every_method
def test_values_are_finite_and_all_of_them_have_a_place_in_the_log(trained):
    learning = trained.begin()
    found = take_guarded_step(learning, drawn_batch(), MOMENT)
    assert all(torch.isfinite(value).all() for value in found.values())
    terms = {*learning.method.quantities, *trained.terms}
    assert float(found["loss"]) == pytest.approx(sum(float(found[name]) for name in terms), rel=1e-5)
    means = epoch_means([found])
    del means["loss"]  # nnU-Net logs it
    EpochLog(learning.method.logged()).record(0, means)


@every_method
def test_a_weight_of_zero_removes_its_term_and_changes_no_other(trained):
    whole = take_step(trained.begin(), drawn_batch(), MOMENT)
    for term, key in trained.terms.items():
        assert float(whole[term]) != 0
        without = take_step(trained.begin(**{key: 0}), drawn_batch(), MOMENT)
        assert float(without.get(term, 0)) == 0
        assert float(without["loss"]) == pytest.approx(float(whole["loss"] - whole[term]), rel=1e-4)


@every_method
def test_gradient_reaches_student_and_heads_and_never_the_teacher(trained):
    learning = trained.begin()
    parts = {"student": learning.student, "heads": learning.heads, "teacher": learning.teacher.network}
    before = {name: parameters_of(part) for name, part in parts.items()}
    take_step(learning, drawn_batch(), MOMENT)
    moved = {
        name: [not torch.equal(a, b) for a, b in zip(before[name], part.parameters(), strict=True)]
        for name, part in parts.items()
    }
    kernels = [b.grad is not None and b.ndim > 1 for b in learning.student.parameters()]  # of outputs that count
    assert sum(kernels) > 6 and all(
        moves for moves, of_kernel in zip(moved["student"], kernels, strict=True) if of_kernel
    )
    assert all(moved["heads"]) and not any(moved["teacher"])
    assert all(parameter.grad is None for parameter in learning.teacher.network.parameters())


def _all_that_learns(learning: Learning) -> dict[str, Any]:
    modules = {"student": learning.student, "heads": learning.heads, "teacher": learning.teacher.network}
    found: dict[str, Any] = {name: module.state_dict() for name, module in modules.items()}
    found |= {"method": learning.method.state(), "generators": learning.passes.generators.states()}
    return copy.deepcopy({**found, "optimizer": learning.passes.descent.optimizer.state_dict()})


@every_method
@pytest.mark.parametrize("bfloat16", [False, True])
def test_two_steps_a_checkpoint_and_a_step_are_three_steps(trained, bfloat16, tmp_path: Path):
    """Other batches every time, momentum, a teacher that follows, and everything drawn at random."""
    undisturbed, stopped, resumed = trained.begin(), trained.begin(), trained.begin()
    for learning in (undisturbed, stopped, resumed):
        learning.passes.bfloat16 = bfloat16
    values = [take_guarded_step(undisturbed, drawn_batch(seed), MOMENT) for seed in (1, 2, 3)]
    for seed in (1, 2):
        take_guarded_step(stopped, drawn_batch(seed), MOMENT)
    optimizer, saving = stopped.passes.descent.optimizer, saving_of(stopped)
    of_nnunet = {"optimizer_state": optimizer.state_dict()}
    saving.write(of_nnunet, saving.run.stages.at(0), str(tmp_path / "a.pth"))
    torch.manual_seed(99), take_guarded_step(resumed, drawn_batch(7), MOMENT)  # whatever it has seen is undone
    saving = saving_of(resumed)
    found = saving.read(str(tmp_path / "a.pth"), torch.device("cpu"))
    checkpoint.restore_optimizer_(resumed.passes.descent.optimizer, found["optimizer_state"])
    saving.take(found, epoch=0)
    again = take_guarded_step(resumed, drawn_batch(3), MOMENT)
    torch.testing.assert_close(again, values[2], rtol=0, atol=0)
    assert resumed.teacher.step == undisturbed.teacher.step == 3
    torch.testing.assert_close(_all_that_learns(resumed), _all_that_learns(undisturbed), rtol=0, atol=0)


def test_heads_are_stored_beside_the_weights_that_nnunet_loads(tmp_path: Path):
    learning = METHODS["origin"].begin()
    saving = saving_of(learning)
    saving.write({}, saving.run.stages.at(0), str(tmp_path / "a.pth"))
    found = saving.read(str(tmp_path / "a.pth"), torch.device("cpu"))
    assert found["network_weights"].keys() == small_network().state_dict().keys()
    assert found["mlbseg"]["heads"].keys() == {"origin.weight", "origin.bias"}
    assert found["mlbseg"]["steps"] == 0
    assert "heads" not in METHODS["tied"].begin().student.state_dict()
