"""Regions of an image told apart from their neighbours: a loop, values by hand, derivatives."""

from __future__ import annotations

import math

import pytest
import torch

from nnunetv2_mlbseg.maths.local_contrast import local_contrast
from nnunetv2_mlbseg.maths.pooling import means_of_halves, means_of_regions, nearest_regions


def test_means_by_hand() -> None:
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    assert means_of_halves(maps).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert means_of_halves(torch.ones(2, 3, 4, 4, 6)).shape == (2, 3, 2, 2, 2)
    assert means_of_regions(maps, 3).flatten().tolist() == [5.0]
    assert means_of_regions(torch.ones(2, 3, 7, 6, 4), 3).shape == (2, 3, 2, 2, 1)


def test_nearest_regions_of_a_row_and_of_a_square() -> None:
    assert nearest_regions((4,), 2).tolist() == [[1, 2], [0, 2], [1, 3], [2, 1]]
    assert nearest_regions((2, 2), 5).tolist() == [[1, 2, 3], [0, 3, 2], [0, 3, 1], [1, 2, 0]]
    assert nearest_regions((1, 1), 5).shape == (1, 0)


def test_equal_views_of_orthogonal_regions_by_hand() -> None:
    """Own: e; two neighbours in each of two views: e^0 each, so ln(1 + 4 / e)."""
    maps = torch.eye(3, dtype=torch.float64).unsqueeze(0)
    loss = local_contrast(maps, maps, torch.tensor([0, 1, 2]), nearest_regions((3,), 2), 1.0)
    assert loss.item() == pytest.approx(math.log(1 + 4 / math.e))


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_against_a_loop() -> None:
    first, second, chosen, near = drawn(0), drawn(1), [0, 3, 5], nearest_regions((2, 3), 2)
    losses = []
    for a, b in ((first, second), (second, first)):
        for image in range(2):
            unit = [[v[image, :, r] / v[image, :, r].norm() for r in range(6)] for v in (a, b)]
            for r in chosen:
                own = math.exp(float(unit[0][r] @ unit[1][r]) / 0.3)
                others = [math.exp(float(unit[0][r] @ unit[v][k]) / 0.3) for v in (0, 1) for k in near[r]]
                losses.append(-math.log(own / (own + sum(others))))
    found = local_contrast(first, second, torch.tensor(chosen), near, 0.3)
    assert found.item() == pytest.approx(sum(losses) / len(losses))


def test_gradients_and_no_neighbour() -> None:
    near = nearest_regions((2, 3), 2)
    first, second = drawn(2).requires_grad_(), drawn(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: local_contrast(a, b, torch.tensor([1, 4]), near, 0.5), (first, second))
    alone = drawn(4)[:, :, :1]
    assert local_contrast(alone, -alone, torch.tensor([0]), nearest_regions((1, 1), 5), 0.1).item() == 0
