"""What a weighting looks at: labels at every scale, and derivatives where there are any."""

from __future__ import annotations

import pytest
import torch
from maths_support import seen

N, P = torch.randint(-1, 3, (2, 2, 8, 6), generator=torch.Generator().manual_seed(0))
LOGITS = [torch.zeros(2, 3, 8, 6), torch.zeros(2, 3, 4, 3)]


def test_labels_at_a_scale_are_resized_as_nnunet_does() -> None:
    batch = seen(LOGITS, None, N, P)
    assert batch.sizes == ((8, 6), (4, 3))
    assert all(torch.equal(a, b) for a, b in zip(batch.labels_at((8, 6)), (N, P), strict=True))
    small = batch.labels_at((4, 3))
    assert all(torch.equal(a, b[:, 1::2, 1::2]) for a, b in zip(small, (N, P), strict=True))


def test_derivatives_that_are_not_there_are_asked_for() -> None:
    with pytest.raises(ValueError, match="need the derivatives of the logits"):
        seen(LOGITS, None, N, P).needed_derivatives()
    assert len(seen(LOGITS, LOGITS, N, P).needed_derivatives()) == 2
