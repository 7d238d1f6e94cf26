"""Blends: of images, of labels, and what is lost where one of two labels is missing."""

from __future__ import annotations

import torch

from nnunetv2_mlbseg.maths.mixing import blended, blended_labels

FIRST, SECOND = torch.tensor([[0, 1, -1, 2]]), torch.tensor([[1, 1, 0, -1]])


def test_images_by_hand():
    found = blended(torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2), torch.tensor([1.0, 0.25]))
    assert (found[0] == 1).all() and (found[1] == 0.25).all()


def test_labels_by_hand():
    """Half of each, one class twice, and no label where either is ignored."""
    found = blended_labels(FIRST, SECOND, torch.tensor([0.3]))
    assert found.labels.tolist() == [[[0, 1, 0, 2], [1, 1, 0, 0]]]
    torch.testing.assert_close(found.weights, torch.tensor([[[0.3, 0.3, 0, 0], [0.7, 0.7, 0, 0]]]))


def test_exchanging_both_and_the_share_changes_nothing():
    share = torch.rand(1)
    ours, other = blended_labels(FIRST, SECOND, share), blended_labels(SECOND, FIRST, 1 - share)
    torch.testing.assert_close(ours.weights, other.weights.flip(1))
    torch.testing.assert_close(ours.labels, other.labels.flip(1))
    images = torch.randn(2, 1, 3, 3, 3)
    torch.testing.assert_close(blended(*images[:, :1], share), blended(*images.flip(0)[:, :1], 1 - share))
