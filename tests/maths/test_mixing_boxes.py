"""Boxes: their sizes, that they lie inside, and what pasting takes from where."""

from __future__ import annotations

import pytest
import torch
from maths_support import NoHostReads

from nnunetv2_mlbseg.maths.mixing_boxes import box_masks, boxes_of_area, boxes_of_share, pasted
from nnunetv2_mlbseg.networks.dropout import Uniform


def _uniform() -> Uniform:
    draw = torch.Generator().manual_seed(4)
    return lambda shape: torch.rand(tuple(shape), generator=draw)


def test_masks_by_hand() -> None:
    found = box_masks(torch.tensor([[0, 1], [2, 0]]), torch.tensor([[2, 1], [1, 3]]), (3, 3))
    assert found[0].int().tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert found[1].int().tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(("size", "share"), [((12, 9), 48 / 108), ((6, 9, 12), 192 / 648)])
def test_boxes_of_two_thirds_of_every_side(size: tuple[int, ...], share: float) -> None:
    """44 % of an area and 30 % of a volume, wherever they lie."""
    with NoHostReads():
        masks = boxes_of_share(400, size, 2 / 3 + 1e-6, _uniform())
    torch.testing.assert_close(masks.flatten(1).float().mean(dim=1), torch.full((400,), share))
    assert masks.any(dim=0).all()  # everywhere in the image
    assert (masks.float().mean(dim=0)[tuple(length // 2 for length in size)] == 1).all()  # and always over its centre


@pytest.mark.parametrize("size", [(40, 60), (20, 24, 30)])
def test_boxes_of_area_have_it_and_half_of_the_images_have_none(size: tuple[int, ...]) -> None:
    with NoHostReads():
        masks = boxes_of_area(2000, size, (0.02, 0.4), 3.3, 0.5, _uniform())
    areas = masks.flatten(1).float().mean(dim=1)
    there = areas > 0
    assert 0.45 < float(there.float().mean()) < 0.55
    assert 0.012 < float(areas[there].min()) < 0.04 and 0.33 < float(areas[there].max()) < 0.43
    assert not boxes_of_area(100, size, (0.02, 0.4), 3.3, 0.0, _uniform()).any()


def test_sides_of_boxes_have_ratios_up_to_the_largest() -> None:
    masks = boxes_of_area(2000, (300, 300), (0.1, 0.1), 3.3, 1.0, _uniform())
    height, width = (masks.any(dim=axis).sum(dim=1).float() for axis in (2, 1))
    ratio = height / width
    assert 1 / 3.4 < float(ratio.min()) < 0.4 and 2.5 < float(ratio.max()) < 3.4
    torch.testing.assert_close(height * width, torch.full((2000,), 9000.0), rtol=0.02, atol=0)


def test_pasting_takes_the_box_from_the_one_and_the_rest_from_the_other() -> None:
    masks = box_masks(torch.tensor([[0, 0], [1, 1]]), torch.tensor([[1, 2], [1, 1]]), (2, 2))
    images, others = torch.arange(16.0).view(2, 2, 2, 2), -torch.arange(16.0).view(2, 2, 2, 2)
    found = pasted(masks, images, others)
    assert found[0, 0].tolist() == [[0, 1], [-2, -3]] and found[1, 1].tolist() == [[-12, -13], [-14, 15]]
    assert pasted(masks, torch.ones(2, 2, 2).long(), -torch.ones(2, 2, 2).long())[0].tolist() == [[1, 1], [-1, -1]]
