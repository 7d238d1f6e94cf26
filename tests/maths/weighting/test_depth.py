"""How deep pixels lie within their own label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from maths_support import NoHostReads
from scipy.ndimage import distance_transform_cdt

from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.weighting.depth import DEPTHS, LEVELS, depth_levels, is_flat


def chessboard_levels(labels: np.ndarray) -> np.ndarray:
    """The same from scipy's distance transform, class by class; beyond the frame there is no other class."""
    depth = np.full(labels.shape, max(labels.shape))
    for c in np.unique(labels):
        if (labels == c).all():
            continue
        # What is continued beyond the frame keeps the frame itself from being a border.
        margin = max(labels.shape)
        inside = np.pad(labels == c, margin, mode="edge")
        distance = distance_transform_cdt(inside, "chessboard")
        within = distance[tuple(slice(margin, -margin) for _ in labels.shape)]
        depth = np.where(labels == c, within, depth)
    return np.digitize(depth, DEPTHS) - 1


def blobs(shape: tuple[int, ...], classes: int, seed: int) -> torch.Tensor:
    """Random regions some pixels wide, and single pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, *(max(2, side // 9) for side in shape), generator=generator)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    smooth = torch.nn.functional.interpolate(coarse, size=shape, mode=mode)[0, 0]
    labels = (smooth * classes).long().clamp_max(classes - 1)
    return torch.where(torch.rand(shape, generator=generator) < 0.002, 0, labels)


def test_levels_of_a_row_by_hand() -> None:
    row = torch.tensor([0, 0, 0, 0, 1, 1, 1, 0, IGNORE, 0]).repeat(3, 1)
    levels = depth_levels(row.unsqueeze(0))[0, 1].tolist()
    levels.pop(8)  # no label, so of no depth
    assert [DEPTHS[level] for level in levels] == [4, 3, 2, 1, 1, 2, 1, 1, 3]


@pytest.mark.parametrize("shape", [(40, 53), (24, 30, 28)])
@pytest.mark.parametrize("classes", [2, 4])
def test_levels_are_those_of_the_chessboard_distance(shape: tuple[int, ...], classes: int) -> None:
    labels = torch.stack([blobs(shape, classes, seed) for seed in range(3)])
    expected = np.stack([chessboard_levels(image.numpy()) for image in labels])
    found = depth_levels(labels)
    assert np.array_equal(found.numpy(), expected)
    assert len(found.unique()) >= 5


def test_a_flat_stack_is_levelled_slice_by_slice() -> None:
    stack = torch.stack([blobs((30, 30), 3, seed) for seed in range(5)])
    assert torch.equal(depth_levels(stack.unsqueeze(0), flat=True)[0], depth_levels(stack))
    assert not torch.equal(depth_levels(stack.unsqueeze(0))[0], depth_levels(stack))


@pytest.mark.parametrize("parts", [(1, 1, 1), (3, 1, 1), (5, 3, 1)])
def test_depth_is_counted_in_other_pixels(parts: tuple[int, ...]) -> None:
    """Pixels made of smaller ones have the level of the small one in their middle."""
    labels = blobs((9, 14, 30), 3, 1)
    small = labels
    for axis, times in enumerate(parts):
        small = small.repeat_interleave(times, dim=axis)
    middle = tuple(slice(times // 2, None, times) for times in parts)
    expected = depth_levels(small.unsqueeze(0))[0][middle]
    assert torch.equal(depth_levels(labels.unsqueeze(0), sides=parts)[0], expected)
    assert len(expected.unique()) >= 4


def test_finer_pixels_have_the_depth_of_the_coarse_one_that_they_lie_in() -> None:
    row = torch.tensor([0] * 12 + [1] * 12).repeat(3, 1).unsqueeze(0)
    levels = depth_levels(row, sides=(1.0, 1 / 3))[0, 1, 12:].tolist()
    assert [DEPTHS[level] for level in levels] == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3


def test_one_class_is_deep_everywhere_and_no_class_is_nowhere() -> None:
    assert (depth_levels(torch.ones(1, 9, 9, dtype=torch.int64)) == LEVELS - 1).all()
    nothing = torch.full((1, 9, 9), IGNORE)
    assert (depth_levels(nothing) >= 0).all()


def test_flat_is_what_nnunet_augments_in_two_dimensions() -> None:
    from nnunetv2.configuration import ANISO_THRESHOLD

    for shape in [(20, 61, 40), (20, 60, 40), (64, 64, 64), (40, 320)]:
        assert is_flat(shape) == (len(shape) == 3 and max(shape) / shape[0] > ANISO_THRESHOLD)


def test_nothing_waits_for_the_device() -> None:
    with NoHostReads() as watched:
        depth_levels(blobs((20, 20), 2, 0).unsqueeze(0))
    assert watched.operations
