"""Entropy: 1 where nothing is known, 0 where all is, gradient zero at both ends of what can be learned."""

from __future__ import annotations

import math

import pytest
import torch

from nnunetv2_mlbseg.maths.entropy import entropy, entropy_of_logits, relative_entropy_of_logits


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log().view(1, -1, 1)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [((0.5, 0.5), 1.0), ((0.25,) * 4, 1.0), ((1.0, 0.0), 0.0), ((0.8, 0.2), 0.7219)],
)
def test_values_by_hand(probabilities, expected):
    """0.8 and 0.2: (0.8 * 0.2231 + 0.2 * 1.6094) / 0.6931."""
    found = relative_entropy_of_logits(logits_of(*probabilities).clamp_min(-1e4))
    assert found.item() == pytest.approx(expected, abs=1e-4) and found.shape == (1, 1)
    of_p = entropy(torch.tensor(probabilities).view(1, -1, 1))
    assert of_p.item() == pytest.approx(expected * math.log(len(probabilities)), abs=1e-4)


def test_it_is_the_entropy_of_torchs_distribution_and_differentiable():
    logits = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    of_torch = torch.distributions.Categorical(logits=logits.movedim(1, -1)).entropy()
    torch.testing.assert_close(entropy_of_logits(logits), of_torch)
    torch.testing.assert_close(entropy(logits.softmax(1)), of_torch)
    assert torch.autograd.gradcheck(entropy_of_logits, logits)


def test_a_uniform_prediction_has_no_gradient_and_extreme_ones_a_finite_one():
    logits = torch.zeros(1, 3, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(entropy_of_logits(logits).sum(), logits)
    assert gradient.abs().max() < 1e-7
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        extreme = torch.tensor([[[300.0], [-300.0]]], dtype=dtype, requires_grad=True)
        (gradient,) = torch.autograd.grad(entropy_of_logits(extreme).sum(), extreme)
        assert torch.isfinite(gradient).all()
