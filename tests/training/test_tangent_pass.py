"""Into which parts images go for derivatives."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg.training.tangent_pass import divided


def sizes(images: int, dims: int, first: int | None, at_once: int | None = None, side: int = 1) -> list[int]:
    """Of the parts, which have to be the first images in their order."""
    batch = torch.arange(images).view(-1, *[1] * (dims + 1)).expand(-1, 1, *[side] * dims)
    parts = divided(batch, first, images if at_once is None else at_once)
    assert torch.cat(parts).flatten(1)[:, 0].tolist() == list(range(sum(map(len, parts))))
    return [len(part) for part in parts]


def test_a_quarter_of_the_images_at_once():
    assert sizes(10, 2, None) == [3, 3, 3, 1]
    assert sizes(10, 2, 2) == [2] and sizes(2, 2, 1) == [1] and sizes(1, 2, None) == [1]
    assert sizes(10, 2, None, at_once=2) == [2] * 5


@pytest.mark.parametrize(
    ("images", "first", "expected"),
    [(1, 1, [1]), (2, 1, [2]), (3, 1, [3]), (4, 1, [2]), (5, 1, [2]), (6, 3, [3]), (10, None, [3, 3, 2, 2])],
)
def test_on_the_cpu_no_small_volume_is_alone(images, first, expected):
    """Neither among those with derivatives nor among those that follow without."""
    assert sizes(images, 3, first) == expected
    assert images - sum(expected) != 1


def test_large_volumes_take_no_others_along():
    assert sizes(2, 3, 1, side=40) == [2] and sizes(2, 3, 1, side=41) == [1]
    assert sizes(10, 3, None, side=41) == sizes(10, 2, None)


def test_volumes_that_memory_wants_one_by_one_go_one_by_one():
    assert sizes(4, 3, 2, at_once=1) == [1, 1]
