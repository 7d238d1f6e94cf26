"""Largest components, by hand and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import generate_binary_structure, label

from nnunetv2_mlbseg.maths.largest_component import components, largest_components


def test_by_hand_with_two_classes_and_corners_that_touch() -> None:
    labels = torch.tensor([[[1, 0, 2, 2], [0, 1, 0, 0], [0, 0, 1, 0], [2, 0, 0, 0], [0, 1, 1, 0]]])
    expected = [[1, 0, 2, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert largest_components(labels, 3)[0].tolist() == expected


@pytest.mark.parametrize("size", [(17, 23), (6, 9, 8)])
def test_random_labels_equal_scipy(size: tuple[int, ...]) -> None:
    mask = torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(0)) < (0.45 if len(size) == 2 else 0.2)
    found = components(mask)
    for ours, inside in zip(found.flatten(0, 1).numpy(), mask.flatten(0, 1).numpy(), strict=True):
        expected, count = label(inside, generate_binary_structure(len(size), len(size)))
        pairs = {*zip(ours[inside].tolist(), expected[inside].tolist(), strict=True)}
        assert len(pairs) == count and (ours[~inside] == 0).all()
    sizes = np.bincount(found[0, 0].flatten().numpy())[1:]
    kept = largest_components(mask[:1, 0].long(), 2)
    assert int(kept.sum()) == sizes.max()


def test_a_spiral_is_one_component_and_nothing_stays_nothing() -> None:
    spiral = torch.zeros(1, 21, 21, dtype=torch.int64)
    for ring in range(0, 10, 2):
        spiral[0, ring, ring : 21 - ring] = spiral[0, ring : 21 - ring, 20 - ring] = 1
        spiral[0, 20 - ring, ring : 21 - ring] = spiral[0, ring + 2 : 21 - ring, ring] = 1
        spiral[0, ring + 2, ring + 1] = 1
    spiral[0, 10, 10] = 0
    assert torch.equal(largest_components(spiral, 2), spiral)
    assert not largest_components(torch.zeros_like(spiral), 3).any()
