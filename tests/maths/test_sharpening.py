"""Sharpening by hand, and its limits."""

from __future__ import annotations

import torch

from nnunetv2_mlbseg.maths.sharpening import sharpened, sharpened_mean


def _pixel(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def test_two_classes_by_hand() -> None:
    """0.6^10 / (0.6^10 + 0.4^10) = 0.983; 1.5^10 is 57.7."""
    found = sharpened(_pixel(0.4, 0.6).log(), 0.1)
    torch.testing.assert_close(found, _pixel(1 / 58.665, 57.665 / 58.665), rtol=1e-4, atol=0)


def test_three_classes_by_hand() -> None:
    """Squares 0.25, 0.09, 0.04 over their sum 0.38."""
    expected = _pixel(0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38)
    torch.testing.assert_close(sharpened(_pixel(0.5, 0.3, 0.2).log(), 0.5), expected)
    both = [_pixel(0.7, 0.1, 0.2), _pixel(0.3, 0.5, 0.2)]
    torch.testing.assert_close(sharpened_mean(both, 0.5), expected)


def test_a_temperature_of_1_changes_nothing_and_half_precision_does_not_vanish() -> None:
    logits = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(sharpened(logits, 1.0), logits.softmax(dim=1))
    found = sharpened(torch.tensor([-20.0, 20.0, 0.0]).half().view(1, 3, 1, 1), 0.1)
    assert found.dtype == torch.float32 and found.flatten().tolist() == [0.0, 1.0, 0.0]


def test_a_mean_with_a_class_of_probability_0_is_finite() -> None:
    found = sharpened_mean([_pixel(1.0, 0.0)], 0.5)
    assert found.flatten().tolist() == [1.0, 0.0]
