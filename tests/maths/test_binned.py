"""Sums over the pixels of every kind: exact for many of them, by either of two ways."""

from __future__ import annotations

import pytest
import torch
from maths_support import NoHostReads

from nnunetv2_mlbseg.maths import binned as module
from nnunetv2_mlbseg.maths.binned import binned
from nnunetv2_mlbseg.maths.class_shares import _pixels
from nnunetv2_mlbseg.maths.weighting.disputes import _sums

WAYS = [module._scattered, module._products]
"""On a CPU and on a GPU."""
MANY = 17_000_000
"""More than 2**24, where float32 stops to count."""


@pytest.mark.parametrize("way", WAYS)
def test_sums_by_hand(way) -> None:
    rows = torch.tensor([[[1.0, 2.0, 4.0, 8.0], [1.0, 1.0, 1.0, 1.0]]])
    bins = torch.tensor([[2, -1, 0, 2]])
    assert way(rows, bins, 3).tolist() == [[[4, 0, 9], [1, 0, 2]]]


@pytest.mark.parametrize("way", WAYS)
def test_parts_add_up_to_what_float64_finds(way, monkeypatch) -> None:
    monkeypatch.setattr(module, "_scattered", way)
    monkeypatch.setattr(module, "PIXELS", 1000)
    generator = torch.Generator().manual_seed(0)
    rows = torch.rand(2, 3, 2500, generator=generator)
    bins = torch.randint(-1, 5, (2, 2500), generator=generator)
    with NoHostReads():
        found = binned(rows, bins, 5)
    for image in range(2):
        for number in range(5):
            expected = rows[image].double()[:, bins[image] == number].sum(1)
            torch.testing.assert_close(found[image, :, number].double(), expected, rtol=1e-6, atol=0)


def test_more_pixels_than_float32_can_count_are_counted_exactly() -> None:
    labels = torch.ones(MANY, dtype=torch.int8)
    labels[:1000] = 0
    labels[1000:3000] = -1
    assert _pixels(labels.unsqueeze(0), 1, 3).tolist() == [[1000, MANY - 3000, 0]]
    assert torch.zeros(2).scatter_add(0, labels.clamp_min(0).long(), torch.ones(MANY))[1] < MANY - 3000, "why parts"


def test_products_do_not_drift_either() -> None:
    """2**18 times 0.1 one after the other in float32 is off by a 400th."""
    rows, bins = torch.full((1, 1, 2**18), 0.1), torch.zeros(1, 2**18, dtype=torch.int8)
    assert float(module._products(rows, bins, 1)) == pytest.approx(2**18 * float(torch.tensor(0.1)), rel=2e-5)


def test_sums_over_many_disputed_pixels_are_those_of_float64() -> None:
    values = torch.full((1, 2, MANY), 0.1).view(1, 2, -1)
    pair = torch.zeros(1, MANY, dtype=torch.int8), torch.ones(1, MANY, dtype=torch.int8)
    found = _sums(values, torch.tensor([0]), pair, torch.zeros(2, 2, 2))
    expected = MANY * float(torch.tensor(0.1))
    assert found.shape == (2, 2, 2, 2)
    assert found[:, 0, 0, 1].tolist() == pytest.approx([expected] * 2, rel=1e-6)
    assert found.sum() == pytest.approx(2 * expected, rel=1e-6)
