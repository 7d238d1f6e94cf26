"""Targets that are probabilities: by hand, and what blending does to them."""

from __future__ import annotations

import math

import torch

from nnunetv2_mlbseg.maths.soft_targets import Targets, blended, guess_or_label, one_hot, share_divergence


def test_one_hot_labels_count_where_they_are_known() -> None:
    found = one_hot(torch.tensor([[[0, 2, -1]]]), 3)
    assert found.probabilities[0, :, 0].T.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert found.counted.tolist() == [[[True, True, False]]] and found.labelled.tolist() == [True]


def _maps(*first: float) -> torch.Tensor:
    """Probabilities of class 0, one image after the other, of a single pixel."""
    p = torch.tensor(first).view(-1, 1, 1, 1)
    return torch.cat([p, 1 - p], dim=1)


def test_likely_labels_are_refined_and_others_guessed() -> None:
    """Image 1: 0.75 * (0, 1) + 0.25 * (0.8, 0.2) = (0.2, 0.8). Image 2: unlikely. Image 3: without a label."""
    labels = torch.tensor([1, 1, -1]).view(3, 1, 1)
    own, joint = _maps(0.8, 0.8, 0.8), _maps(0.9, 0.6, 0.7)
    found = guess_or_label(labels, torch.tensor([0.75, 0.4, 1.0]), own, joint, 0.5)
    sharp = [0.04 / 0.68, 0.36 / 0.52, 0.49 / 0.58]
    torch.testing.assert_close(found.probabilities, _maps(*sharp))
    assert found.labelled.tolist() == [True, False, False] and found.counted.all()


def test_a_certain_label_is_itself_and_ignored_pixels_of_it_do_not_count() -> None:
    labels = torch.tensor([[[1, -1]]])
    guess = torch.full((1, 2, 1, 2), 0.5)
    found = guess_or_label(labels, torch.ones(1), guess, guess, 0.5)
    assert found.probabilities[0, :, 0, 0].tolist() == [0, 1] and found.counted.tolist() == [[[True, False]]]


def test_blends_by_hand() -> None:
    images = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    counted = torch.tensor([True, False]).view(2, 1, 1)
    targets = Targets(_maps(1.0, 0.0), counted, torch.tensor([True, False]))
    mixed, found = blended(images, targets, torch.tensor([0.75, 1.0]), torch.tensor([1, 0]))
    assert mixed.flatten().tolist() == [1.5, 3.0]
    torch.testing.assert_close(found.probabilities, _maps(0.75, 0.0))
    assert not found.counted.any() and found.labelled.tolist() == [True, False]


def test_the_distance_is_of_images_without_a_label_alone() -> None:
    targets = Targets(_maps(1.0, 0.5), torch.ones(2, 1, 1, dtype=torch.bool), torch.tensor([True, False]))
    probabilities = _maps(0.0, 0.9).requires_grad_()
    found = targets.distance_of_guessed(probabilities)
    found.backward()
    assert abs(found.item() - 0.16) < 1e-6
    assert probabilities.grad is not None and not probabilities.grad[0].any() and probabilities.grad[1].any()
    assert targets.counted_of_labelled().flatten().tolist() == [True, False]


def test_divergence_of_shares_by_hand() -> None:
    shares = torch.tensor([0.5, 0.5, 0.0])
    even = torch.tensor([0.25, 0.75, 0.0]).view(1, 3, 1, 1)
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert abs(share_divergence(even, shares).item() - expected) < 1e-6
    assert abs(share_divergence(shares.view(1, 3, 1, 1).expand(2, 3, 4, 4), shares).item()) < 1e-6
