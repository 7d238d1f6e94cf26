"""The loss of the clean batch where nnU-Net's own would be NaN."""

from __future__ import annotations

import torch
from torch import nn

from nnunetv2_mlbseg.training.whole_batch_loss import AnnotatedCrossEntropy


def test_cross_entropy_without_an_annotated_pixel_is_zero_with_zero_gradient():
    loss = AnnotatedCrossEntropy(ignore_label=2)
    logits = torch.randn(2, 2, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((2, 1, 4, 4), 2))
    value.backward()
    assert float(value.detach()) == 0 and (logits.grad == 0).all()
    target = torch.randint(0, 3, (2, 1, 4, 4))
    expected = nn.functional.cross_entropy(logits, target[:, 0], ignore_index=2)
    assert torch.allclose(loss(logits, target), expected)
