"""Classes that no clean image shows: the loss over the others is that of a network without them."""

from __future__ import annotations

import math

import pytest
import torch
from maths_support import NoHostReads

from nnunetv2_mlbseg.maths.unshown import Unshown

MIDDLE = Unshown.of((1,), 3)


def test_without_such_a_class_there_is_nothing_to_compute():
    assert Unshown.of((), 3) is None


def test_labels_get_the_numbers_of_the_other_classes_and_the_ignore_label_stays():
    target = torch.tensor([0, 2, 3], dtype=torch.int16).view(1, 1, 3)
    assert MIDDLE.other_labels(target).tolist() == [[[0, 1, 3]]]
    both = MIDDLE.other_labels([target, target[..., :2]])
    assert [one.flatten().tolist() for one in both] == [[0, 1, 3], [0, 1]]


def test_an_unshown_label_among_clean_ones_is_no_other_class():
    """It cannot be there; taken for class 0 or 2 it would go unnoticed."""
    assert MIDDLE.other_labels(torch.tensor([[[1]]])).item() == 3


def test_cross_entropy_of_the_others_by_hand_and_no_gradient_at_the_unshown_logit():
    """One pixel of class 2 with logits 1, g, 2: the loss is log(1 + exp(1 - 2)) whatever g is."""
    for garbage in (-50.0, 0.0, 50.0):
        logits = torch.tensor([1.0, garbage, 2.0]).view(1, 3, 1).requires_grad_()
        target = MIDDLE.other_labels(torch.tensor([[[2]]]))[:, 0]
        loss = torch.nn.functional.cross_entropy(MIDDLE.other_logits(logits), target)
        assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))
        (gradient,) = torch.autograd.grad(loss, logits)
        wrong = 1 / (1 + math.e)
        assert gradient.flatten().tolist() == pytest.approx([wrong, 0, -wrong]) and gradient[0, 1, 0] == 0


def test_pixels_and_probabilities_of_such_classes():
    assert MIDDLE.among(torch.tensor([[0, 1, 2, -1]])).tolist() == [[False, True, False, False]]
    probabilities = torch.tensor([[0.2, 0.5, 0.3]])
    torch.testing.assert_close(MIDDLE.without(probabilities), torch.tensor([[0.2, 0.0, 0.3]]))


def test_nothing_waits_for_the_device():
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 1, 4, 4))
    with NoHostReads() as reads:
        MIDDLE.other_logits(logits), MIDDLE.other_labels(labels), MIDDLE.among(labels), MIDDLE.without(logits)
    assert reads.operations
