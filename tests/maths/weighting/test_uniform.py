"""The same weight for every labelled pixel."""

from __future__ import annotations

import pytest
import torch
from maths_support import seen
from torch import Tensor

from nnunetv2_mlbseg.maths.records import NoRecord
from nnunetv2_mlbseg.maths.weighting.uniform import Uniform

IMPERFECT = torch.randint(-1, 3, (2, 6, 5), generator=torch.Generator().manual_seed(1))
PSEUDO = torch.randint(3, (2, 6, 5), generator=torch.Generator().manual_seed(2))
SEEN = seen([torch.zeros(2, 3, 6, 5)], None, IMPERFECT, PSEUDO)


def weights(how: str) -> list[Tensor]:
    return [found for _, found in Uniform(how).weigh(SEEN, NoRecord())[0].pairs()]


@pytest.mark.parametrize("how", ["sum", "accepted"])
def test_weights_are_one_over_the_labelled_pixels(how: str) -> None:
    labelled = IMPERFECT >= 0
    wn, wp = weights(how)
    torch.testing.assert_close(wn, labelled.float() / labelled.sum())
    torch.testing.assert_close(wp, torch.full((2, 6, 5), 1 / 60))


def test_weights_together_sum_to_one_when_joint() -> None:
    wn, wp = weights("joint")
    expected = 1 / (60 + int((IMPERFECT >= 0).sum()))
    torch.testing.assert_close(wp, torch.full((2, 6, 5), expected))
    torch.testing.assert_close(wn, (IMPERFECT >= 0) * expected)
