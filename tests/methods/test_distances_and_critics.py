"""DTC, SASSNet and DAN: what their terms are by hand, and who changes in which step."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from comparison_support import COMPARED, pair
from method_support import parameters_of, same, state_of, take_step
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.signed_distance import signed_distance
from nnunetv2_mlbseg.methods.opponent import Opponent, Shown, drop_unless_finite_
from nnunetv2_mlbseg.networks import discriminator
from nnunetv2_mlbseg.networks.discriminator import Critic
from nnunetv2_mlbseg.training.learning import Learning
from nnunetv2_mlbseg.training.method import Moment

MOMENT = Moment(1000, 1000, 1000)
WITH_CRITIC = ("DAN", "SASSNet")


@pytest.fixture(autouse=True)
def _small_critics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discriminator, "FEATURES", (4, 6, 8, 10))


def _undecided(learning: Learning) -> Learning:
    for parameter in learning.heads["critic"].classifier.parameters():
        nn.init.zeros_(parameter)
    return learning


@pytest.mark.parametrize("name", WITH_CRITIC)
def test_an_undecided_critic_costs_ln_2(name: str) -> None:
    learning = _undecided(COMPARED[name].begin())
    found = take_step(learning, pair(), MOMENT)
    assert float(found["adversarial"]) == pytest.approx(learning.settings.adversarial_weight * math.log(2))


@pytest.mark.parametrize("name", WITH_CRITIC)
def test_the_main_step_leaves_the_critic_and_the_critics_step_all_else(name: str) -> None:
    learning = COMPARED[name].begin(weight_decay=0.1)
    critic, opponent = learning.heads["critic"], learning.method.opponent
    learn, seen = opponent.learn_, {}

    def watched() -> None:
        seen["main"] = same(before, critic)
        student = state_of(learning.student)
        learn()
        seen["critic"], seen["student"] = same(before, critic), same(student, learning.student)

    opponent.learn_, before = watched, state_of(critic)
    student = state_of(learning.student)
    take_step(learning, pair(), MOMENT)
    assert seen == {"main": True, "critic": False, "student": True} and not same(student, learning.student)
    assert not any(parameter.requires_grad for parameter in critic.parameters())


def _opponent(seed: int = 0) -> tuple[Opponent, Learning]:
    learning = COMPARED["DAN"].begin()
    return learning.method.opponent, learning


def test_a_critic_learns_to_tell_and_half_the_loss_is_of_either_batch() -> None:
    """Its first step is Adam's, on the mean of both cross-entropies, labelled 1 and unlabelled 0."""
    opponent, learning = _opponent()
    images = torch.randn(3, 1, 16, 16)
    labelled, others = Shown(torch.rand(3, 2, 16, 16), images), Shown(torch.zeros(2, 2, 16, 16), images[:2])
    reference = Critic(2, 1, 2)
    reference.load_state_dict(opponent.critic.state_dict())
    adam, generator = torch.optim.Adam(reference.parameters(), 1e-4, (0.9, 0.99)), torch.Generator()
    generator.set_state(learning.passes.generators.on_device("critic").get_state())

    def draw(shape: Any) -> Tensor:
        return torch.rand(tuple(shape), generator=generator)

    ones = nn.functional.cross_entropy(reference(labelled.maps, images, draw), torch.ones(3, dtype=torch.int64))
    zeros = nn.functional.cross_entropy(reference(others.maps, images[:2], draw), torch.zeros(2, dtype=torch.int64))
    ((ones + zeros) / 2).backward()
    adam.step()
    opponent.show(labelled, others)
    opponent.learn_()
    torch.testing.assert_close(dict(opponent.critic.named_parameters()), dict(reference.named_parameters()))
    opponent.optimizer.param_groups[0]["lr"] = 0.01
    for _ in range(60):
        opponent.show(labelled, others)
        opponent.learn_()
    assert opponent.taken_for_labelled(labelled.maps, images).item() < 0.2
    assert opponent.taken_for_labelled(others.maps, images[:2]).item() > 2


def test_a_gradient_that_is_not_finite_moves_no_critic() -> None:
    opponent, _ = _opponent()
    before = parameters_of(opponent.critic)
    images = torch.randn(2, 1, 16, 16)
    opponent.show(Shown(torch.full((2, 2, 16, 16), torch.nan), images), Shown(torch.zeros(2, 2, 16, 16), images))
    opponent.learn_()
    assert all(torch.equal(a, b) for a, b in zip(before, opponent.critic.parameters(), strict=True))
    gradients = [torch.ones(2), torch.tensor([1.0, torch.inf])]
    drop_unless_finite_(gradients)
    assert not torch.cat(gradients).any()
    drop_unless_finite_(gradients := [torch.ones(2)])
    assert gradients[0].all()


def _labels(batch: dict[str, Tensor]) -> Tensor:
    return batch["target"][0][:, 0].long()


@pytest.mark.parametrize("name", ["DTC", "SASSNet"])
def test_a_head_that_knows_the_distances_has_no_loss(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learning, batch = COMPARED[name].begin(), pair()
    expected = signed_distance(_labels(batch), 2)
    method = learning.method
    assert method.regression(expected, batch["target"]).item() == 0
    assert method.regression(expected + 0.5, batch["target"]).item() == pytest.approx(0.25)
    ignored = [torch.where(batch["target"][0] == 1, 2, batch["target"][0])]
    far = torch.where(_labels(batch).unsqueeze(1) == 1, 100.0, signed_distance(torch.zeros_like(_labels(batch)), 2))
    assert method.regression(far, ignored).item() == 0


def test_dtc_compares_by_the_sigmoid_of_the_distance() -> None:
    method = COMPARED["DTC"].begin().method
    logits = torch.zeros(1, 2, 1, 3)
    distances = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3).requires_grad_()
    found = method.disagreement([logits], distances)  # probabilities 1, 1/2, 0 and 1/2 each
    assert found.item() == pytest.approx((0.25 + 0 + 0.25) / 3)
    found = method.disagreement([logits + torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)], distances)  # 3/4 each
    found.backward()
    assert distances.grad is not None
    assert distances.grad.flatten().tolist() == pytest.approx([0, 2 * (0.5 - 0.75) * -375 / 3, 0])
