"""Signed distance maps: by hand, against SciPy, and where a class is missing or fills the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from maths_support import NoHostReads
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure
from torch import Tensor

from nnunetv2_mlbseg.maths import signed_distance as module
from nnunetv2_mlbseg.maths.signed_distance import (
    probability_of_distance,
    signed_distance,
    signed_distance_loss,
    squared_distance,
)


def test_a_line_by_hand() -> None:
    """0 0 1 1 1 0 0: outside 2, 1 over 2; inside 1, 2, 1 over 2 and negative; the class's own boundary is 0."""
    labels = torch.tensor([[[0, 0, 1, 1, 1, 0, 0]]])
    expected = torch.tensor([[[[1, 0.5, 0, -1, 0, 0.5, 1]]]])
    torch.testing.assert_close(signed_distance(labels, 2), expected)


def of_scipy(inside: np.ndarray) -> np.ndarray:
    """Li et al.'s own steps, for a class that is there and does not fill the image."""
    within, beyond = distance_transform_edt(inside), distance_transform_edt(~inside)
    found = beyond / beyond.max() - within / within.max()
    found[inside & ~binary_erosion(inside, generate_binary_structure(inside.ndim, 1), border_value=1)] = 0
    return found


@pytest.mark.parametrize("size", [(9, 14), (1, 11), (6, 5, 7)])
@pytest.mark.parametrize("at_once", [2**22, 50])
def test_random_shapes_equal_scipy(size: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    labels = torch.randint(-1, 4, (3, *size), generator=torch.Generator().manual_seed(1))
    expected = [[of_scipy((image == number).numpy()) for number in (1, 2, 3)] for image in labels]
    with NoHostReads():
        found = signed_distance(labels, 4)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), np.array(expected), atol=1e-6)


def test_squared_distances_equal_scipy_and_are_infinite_from_nothing() -> None:
    mask = torch.rand(1, 2, 7, 6, 5, generator=torch.Generator().manual_seed(2)) < 0.02
    mask[:, 1] = False
    mask[0, 0, 3, 3, 3] = True
    found = squared_distance(mask)
    np.testing.assert_allclose(found[0, 0].sqrt().numpy(), distance_transform_edt(~mask[0, 0].numpy()), rtol=1e-6)
    assert found[0, 1].isposinf().all()


def test_a_missing_class_is_1_and_one_that_fills_the_image_is_minus_1() -> None:
    labels = torch.stack([torch.zeros(4, 4), torch.ones(4, 4), 2 * torch.ones(4, 4)]).long()
    found = signed_distance(labels, 3).flatten(2)
    expected = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])
    torch.testing.assert_close(found, expected.unsqueeze(2).expand(found.shape))


def loss_of(z: Tensor, labels: Tensor) -> Tensor:
    return signed_distance_loss(z, labels, signed_distance(labels, z.shape[1] + 1))


def test_the_loss_is_a_class_mean_and_skips_ignored_pixels() -> None:
    labels = torch.tensor([[[0, 0, 1, 1, 1, 0, -1]]])
    z = torch.zeros(1, 2, 1, 7, requires_grad=True)
    found = loss_of(z, labels)
    expected = torch.tensor([[[1, 0.25, 0, 1, 0, 0.25, 0]]])  # of class 1; class 2 is missing: 1 everywhere
    expected = (expected + torch.tensor([1.0, 1, 1, 1, 1, 1, 0])) / 2
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert z.grad is not None and (z.grad[..., -1] == 0).all() and (z.grad[0, 1, 0, :6] == -1).all()


def test_probability_at_the_boundary_is_a_half_with_the_slope_of_the_paper() -> None:
    z = torch.zeros((), dtype=torch.float64, requires_grad=True)
    found = probability_of_distance(z, 1500)
    found.backward()
    assert found.item() == 0.5 and z.grad is not None and z.grad.item() == -375


def test_an_exact_map_is_the_mask_off_the_boundary() -> None:
    labels = torch.zeros(1, 9, 9, dtype=torch.int64)
    labels[:, 2:7, 2:7] = 1
    distances = signed_distance(labels, 2)
    apart = (probability_of_distance(distances, 1500) - labels.unsqueeze(1)).abs()
    assert float(apart[distances != 0].max()) < 1e-6
    assert float(apart[distances == 0].unique()) == 0.5
