"""DivideMix: records of cases by hand, the division, and that certain labels without blends are plain training."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from comparison_support import COMPARED, pair
from method_support import CPU, take_step

from nnunetv2_mlbseg.maths.soft_targets import one_hot
from nnunetv2_mlbseg.methods import dividemix
from nnunetv2_mlbseg.methods.case_losses import CaseLosses, class_balanced_loss
from nnunetv2_mlbseg.methods.shared.scales import soft_loss
from nnunetv2_mlbseg.training.batch import Batch
from nnunetv2_mlbseg.training.method import Moment

LATE = Moment(500, 500, 1000)


def test_losses_are_a_mean_over_classes_first() -> None:
    """Three pixels of class 0 at p = 1/2 and one of class 1 at p = 1/4: (ln 2 + ln 4) / 2; an ignored one is none."""
    p = torch.tensor([[0.5, 0.5, 0.5, 0.75, 0.9], [0.5, 0.5, 0.5, 0.25, 0.1]]).view(1, 2, 1, 5)
    labels = torch.tensor([[[0, 0, 0, 1, -1]]])
    assert class_balanced_loss(p, labels).tolist() == pytest.approx([1.5 * math.log(2)])
    assert class_balanced_loss(p, torch.full_like(labels, -1)).isnan().all(), "no label says nothing"


def test_each_network_is_told_by_the_losses_of_the_other() -> None:
    cases = CaseLosses(4, CPU)
    order = torch.tensor([0, 1, 2, 3, -1])
    for network, losses in ((0, [0.1, 0.1, 0.9, 0.9, 55.0]), (1, [0.9, 0.1, 0.1, 0.1, 55.0])):
        cases.add_(network, torch.tensor(losses), order)
        cases.add_(network, torch.tensor(losses) + 0.02, order)
    cases.divide_()
    assert cases.chance(1, order).tolist() == pytest.approx([1, 1, 0, 0, 0], abs=1e-3)
    assert cases.chance(0, order).tolist() == pytest.approx([0, 1, 1, 1, 0], abs=1e-3)
    cases.add_(0, torch.tensor([torch.nan]), torch.tensor([0]))  # of a step that was left out
    cases.add_(0, torch.tensor([0.9]), torch.tensor([1]))  # one case in the next epoch; others keep their loss
    cases.divide_()
    assert cases.chance(1, order).tolist() == pytest.approx([1, 0, 0, 0, 0], abs=1e-3)
    again = CaseLosses(4, CPU)
    again.load_state(cases.state())
    assert torch.equal(again.chances, cases.chances)


def test_without_noisy_cases_there_is_nothing_to_divide() -> None:
    cases = CaseLosses(0, CPU)
    cases.add_(0, torch.tensor([1.0]), torch.tensor([-1]))
    cases.divide_()
    assert cases.chance(0, torch.tensor([-1, -1])).tolist() == [0, 0]


def test_certain_labels_that_are_not_blended_are_plain_training() -> None:
    learning = COMPARED["DivideMix"].begin()
    batch = Batch.of(pair(), CPU).clean
    gradients = []
    for loss in (
        learning.passes.supervised(outputs := learning.passes.student(batch.images), batch.target),
        soft_loss(learning.passes, outputs, one_hot(batch.target[0][:, 0].long(), 2)),
    ):
        gradients.append(torch.autograd.grad(loss, outputs, retain_graph=True))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_labels_are_learned_as_they_are_first_and_divided_afterwards() -> None:
    learning = COMPARED["DivideMix"].begin(warmup_epochs=1, epochs=9)
    method: Any = learning.method
    assert method.warm_up_iterations(LATE) == 100
    early = take_step(learning, pair(), Moment(0, 99, 1000))
    assert "guessed" not in early and "labels as they are" in method.epoch_line(Moment(0, 0, 1000))
    assert method.cases.counts.tolist() == [[1, 0], [1, 0]]  # the noisy image's case; an unlabeled one says nothing
    late = take_step(learning, pair(), LATE)
    assert {"guessed", "shares", "guessed_2"} <= late.keys() and "divided" in method.epoch_line(LATE)


def test_the_warm_up_can_be_on_clean_labels_alone() -> None:
    given, clean = (COMPARED["DivideMix"].begin(warmup_labels=labels) for labels in ("given", "clean"))
    alone = pytest.approx(clean.method.supervised(Batch.of(pair(), CPU).clean).item(), rel=1e-5)
    start = Moment(0, 0, 1000)
    assert float(take_step(clean, pair(), start)["supervised"]) == alone
    assert float(take_step(given, pair(), start)["supervised"]) != alone


def test_the_factor_of_guesses_rises_in_a_straight_line_after_the_warm_up() -> None:
    method: Any = COMPARED["DivideMix"].begin(ramp_up=0.5, warmup_epochs=200, epochs=800).method
    assert [method._rise(Moment(now, now, 1000), 200) for now in (200, 400, 600, 1000)] == [0, 0.5, 1, 1]
    assert COMPARED["DivideMix"].begin(ramp_up=0).method._rise(Moment(200, 200, 1000), 200) == 1


def test_targets_and_blends_carry_no_gradient_and_shares_are_the_clean_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    learning = COMPARED["DivideMix"].begin(guessed_weight=0.0, shares_weight=0.0)
    seen: list[Any] = []
    whole = dividemix.blended
    monkeypatch.setattr(dividemix, "blended", lambda *values: seen.append(values) or whole(*values))
    take_step(learning, pair(), LATE)
    assert len(seen) == 2 and not any(targets.probabilities.requires_grad for _, targets, _, _ in seen)
    shares = [share for _, _, share, _ in seen]
    assert all((share >= 0.5).all() for share in shares) and not torch.equal(*shares)
    counts = torch.bincount(pair()["target"][0].long().flatten(), minlength=2).float()
    assert torch.equal(learning.method.clean_pixels, counts)
