"""CPS and MC-Net: two that label images for each other, and what each learns from the other."""

from __future__ import annotations

import copy

import pytest
import torch
from comparison_support import COMPARED, FACTORS, pair
from method_support import take_step

from nnunetv2_mlbseg.methods.shared.scales import cross_entropy, dice_where
from nnunetv2_mlbseg.training.method import Moment

MOMENT = Moment(1000, 1000, 1000)


def test_swapping_the_networks_of_cps_swaps_their_losses() -> None:
    one, other = COMPARED["CPS"].begin(), COMPARED["CPS"].begin()
    kept = copy.deepcopy(other.student.state_dict())
    other.student.load_state_dict(one.heads["second"].state_dict())
    other.heads["second"].load_state_dict(kept)
    found = [take_step(learning, pair(), MOMENT) for learning in (one, other)]
    for name in ("supervised", "cross"):
        assert float(found[0][name]) == pytest.approx(float(found[1][f"{name}_2"]), rel=1e-5)
        assert float(found[0][name]) != pytest.approx(float(found[0][f"{name}_2"]), rel=1e-2)


def test_labels_for_each_other_carry_no_gradient() -> None:
    learning = COMPARED["CPS"].begin()
    method, batch = learning.method, pair()
    outputs = [learning.passes.through(network, batch["imperfect_data"]) for network in method.networks()]
    labels = [one[0].argmax(dim=1) for one in outputs]
    cross_entropy(learning.passes, outputs[0], labels[1]).backward()
    assert any(parameter.grad is not None for parameter in learning.student.parameters())
    assert all(parameter.grad is None for parameter in learning.heads.parameters())


def test_cross_entropy_and_dice_are_summed_over_the_scales() -> None:
    passes = COMPARED["CPS"].begin().passes
    fine, coarse = torch.randn(2, 2, 4, 4), torch.randn(2, 2, 2, 2)
    labels = torch.randint(2, (2, 4, 4))
    small = labels[:, 1::2, 1::2]
    expected = [torch.nn.functional.cross_entropy(z, y) for z, y in ((fine, labels), (coarse, small))]
    found = cross_entropy(passes, [fine, coarse], labels)
    torch.testing.assert_close(found, FACTORS[0] * expected[0] + FACTORS[1] * expected[1])
    counted = torch.rand(2, 4, 4) < 0.5
    dice = []
    for z, y, m in ((fine, labels, counted), (coarse, small, counted[:, 1::2, 1::2])):
        p, t = z.softmax(dim=1)[:, 1] * m, (y == 1) * m
        dice.append(1 - (2 * (p * t).sum() + 1e-5) / (p.sum() + t.sum() + 1e-5))
    found = dice_where(passes, [fine, coarse], labels, counted)
    torch.testing.assert_close(found, FACTORS[0] * dice[0] + FACTORS[1] * dice[1])
    assert dice_where(passes, [fine, coarse], labels, torch.zeros_like(counted)).item() == 0


def test_decoders_that_say_the_same_with_certainty_agree() -> None:
    method = COMPARED["MCNet"].begin().method
    sure = torch.tensor([30.0, -30.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    assert method.disagreement([sure], [sure]).item() == pytest.approx(0, abs=1e-12)
    half, rather = torch.zeros(1, 2, 1, 1), torch.tensor([0.4, 0.6]).log().view(1, 2, 1, 1)
    sharp = 57.665 / 58.665  # of 0.6, see the sharpening's own test
    expected = (sharp - 0.5) ** 2 + (0.6 - 0.5) ** 2  # both classes are as far; one half stays one half
    assert method.disagreement([half], [rather]).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("learns", [False, True])
def test_sharpened_targets_learn_only_where_asked(learns: bool) -> None:
    method = COMPARED["MCNet"].begin(targets_learn=learns).method
    first, second = torch.randn(1, 2, 2, 2, requires_grad=True), torch.randn(1, 2, 2, 2, requires_grad=True)
    method._from(first, second).backward()
    assert first.grad is not None and (second.grad is not None) == learns


def test_both_decoders_of_mcnet_move_the_encoder_and_the_second_is_no_part_of_the_network() -> None:
    learning = COMPARED["MCNet"].begin()
    first, second = learning.method.both(pair()["data"])
    assert [one.shape for one in first] == [one.shape for one in second]
    second[0].sum().backward()
    assert next(learning.student.encoder.parameters()).grad is not None
    assert all(parameter.grad is None for parameter in learning.student.decoder.stages.parameters())
    count = len({id(parameter) for parameter in learning.passes.descent.parameters})
    assert count == len(learning.passes.descent.parameters)
