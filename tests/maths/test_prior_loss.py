"""The loss with likelihood and prior: by hand, and at both ends of the prior."""

from __future__ import annotations

import math

import torch

from nnunetv2_mlbseg.maths.losses import pixel_cross_entropy
from nnunetv2_mlbseg.maths.prior_loss import prior_loss

LABELS = torch.tensor([[[0, 1, -1]]])
SURE = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]).view(1, 2, 1, 3)


def test_by_hand() -> None:
    """q = 0.9 and A = 0.5 at p = 1/2: (0.01 + 0.25) ln 2."""
    q = torch.tensor([[0.9, 0.1, 0.3], [0.1, 0.9, 0.7]]).view(1, 2, 1, 3)
    found = prior_loss(torch.zeros(1, 2, 1, 3), LABELS, q, torch.full_like(q, 0.5))
    torch.testing.assert_close(found, torch.tensor([[[0.26, 0.26, 0]]]) * math.log(2))


def test_an_even_prior_only_rescales_and_one_that_knows_the_label_is_gone() -> None:
    logits = torch.randn(1, 4, 5, 6, requires_grad=True)
    labels = torch.randint(-1, 4, (1, 5, 6))
    known = torch.nn.functional.one_hot(labels.clamp_min(0), 4).movedim(-1, 1).float()
    even = prior_loss(logits, labels, known, torch.full_like(known, 0.25))
    torch.testing.assert_close(even, 0.75**2 * pixel_cross_entropy(logits, labels))
    assert not prior_loss(logits, labels, known, known).any()
    focal = (1 - logits.softmax(dim=1).gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1)) ** 2
    expected = focal.detach() * pixel_cross_entropy(logits, labels)
    torch.testing.assert_close(prior_loss(logits, labels, logits.softmax(dim=1), known), expected)
