"""Correction and doubt where two networks differ: by hand, against one-hot labels, and where nothing counts."""

from __future__ import annotations

import math

import torch

from nnunetv2_mlbseg.maths.disagreement import correction, doubt


def test_doubt_by_hand() -> None:
    """(0.9, 0.1): the mean of -log 0.9 = 0.105 and -log 0.1 = 2.303 is 1.204; the least is ln 2."""
    logits = torch.tensor([0.9, 0.1]).log().view(1, 2, 1, 1)
    one, differs = torch.ones(1, 1, 1, dtype=torch.int64), torch.ones(1, 1, 1, dtype=torch.bool)
    assert abs(doubt(logits, one, differs).item() - 1.204) < 5e-4
    assert doubt(logits, one - 1, differs).item() == 0  # the prediction is the label
    assert doubt(logits, one, ~differs).item() == 0
    even = torch.zeros(1, 2, 1, 1)
    assert abs(doubt(even, one, differs).item() - math.log(2)) < 1e-6  # argmax of a tie is class 0


def test_correction_is_the_squared_distance_from_one_hot_labels() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 5, generator=draw, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(-1, 4, (2, 3, 5), generator=draw)
    differs = torch.rand(2, 3, 5, generator=draw) < 0.5
    found = correction(logits, labels, differs)
    one_hot = torch.nn.functional.one_hot(labels.clamp_min(0), 4).movedim(-1, 1)
    counted = differs & (labels >= 0)
    expected = (logits.softmax(dim=1) - one_hot).square().mean(dim=1)[counted].mean()
    torch.testing.assert_close(found, expected)
    found.backward()
    assert logits.grad is not None and not logits.grad.movedim(1, -1)[~counted].any()


def test_without_a_differing_pixel_both_are_0() -> None:
    none = torch.zeros(1, 2, 2, dtype=torch.bool)
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    for term in (correction, doubt):
        assert term(torch.randn(1, 3, 2, 2), labels, none).item() == 0
