"""A network that shows the weight of every class as if it were its logits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nnunetv2_mlbseg.audit.class_weights import WeightsAsLogits, clean_direction
from nnunetv2_mlbseg.maths.tangents.forward import logit_tangents
from nnunetv2_mlbseg.maths.weighting.meta import class_derivatives, label_weights


def test_a_network_that_shows_its_weights_agrees_with_the_weights_of_each_label():
    torch.manual_seed(0)
    student = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(4, 3, 1))
    direction = [torch.randn_like(parameter) for parameter in student.parameters()]
    images, labels = torch.randn(2, 1, 6, 7), torch.randint(0, 3, (2, 6, 7))
    logits, tangents = logit_tangents(student, images, direction)
    with torch.inference_mode():  # as nnU-Net's inference calls it
        shown = WeightsAsLogits(student, direction)(images.clone())
    assert shown.shape == (2, 3, 6, 7)
    probabilities = logits.softmax(1)
    by_hand = (probabilities * tangents).sum(1) - tangents.gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(shown.gather(1, labels[:, None])[:, 0], by_hand)
    torch.testing.assert_close(label_weights(shown.clone(), labels), by_hand)
    torch.testing.assert_close(class_derivatives(logits, tangents), shown)


def test_the_direction_is_the_mean_over_clean_batches_where_there_is_a_gradient():
    asked = []

    def directions(batches: int, seed: int):
        asked.append((batches, seed))
        return [[torch.tensor([1.0, 0.0]), None], [torch.tensor([0.0, 4.0]), None]]

    mean, nothing = clean_direction(SimpleNamespace(clean_directions=directions), batches=2, seed=5)
    assert asked == [(2, 5)]
    assert mean.tolist() == pytest.approx([0.5, 2.0]) and nothing is None
