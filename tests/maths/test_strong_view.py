"""Strong views: intensities by hand, blur against SciPy, and the share of images that each change reaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from maths_support import NoHostReads
from scipy.ndimage import gaussian_filter

from nnunetv2_mlbseg.maths.strong_view import blurred, jittered, strong_view

NOTHING = torch.zeros(1, 1, 1, 1)


def test_brightness_contrast_and_gamma_by_hand() -> None:
    image = torch.tensor([0.0, 1.0, 4.0, 3.0]).view(1, 1, 2, 2)
    torch.testing.assert_close(jittered(image, NOTHING, NOTHING, NOTHING), image)
    torch.testing.assert_close(jittered(image, NOTHING + 1, NOTHING, NOTHING), image + 0.5)
    torch.testing.assert_close(jittered(image, NOTHING, NOTHING - 1, NOTHING), 2 + (image - 2) / 2)
    gamma = NOTHING + 2 * math.log(2)  # an exponent of 2: squares of 0, 1/4, 1 and 3/4, times 4
    expected = torch.tensor([0.0, 0.25, 4.0, 2.25]).view(1, 1, 2, 2)
    torch.testing.assert_close(jittered(image, NOTHING, NOTHING, gamma), expected)


@pytest.mark.parametrize("size", [(20, 17), (9, 15, 14)])
def test_blur_equals_scipy(size: tuple[int, ...]) -> None:
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    spread = (0.7, 1.9)
    expected = np.array(
        [
            [gaussian_filter(channel.numpy(), sigma, mode="nearest", radius=6) for channel in image]
            for image, sigma in zip(images, spread, strict=True)
        ]
    )
    np.testing.assert_allclose(blurred(images, torch.tensor(spread)).numpy(), expected, atol=1e-5)


def test_most_images_change_half_are_blurred_and_constant_ones_stay_finite() -> None:
    images = torch.randn(1, 1, 8, 8).expand(2000, 1, 8, 8)
    with NoHostReads():
        found = strong_view(images, torch.Generator().manual_seed(1))
    same = (found - images).abs().flatten(1).amax(dim=1) < 1e-5
    assert 0.07 < float(same.float().mean()) < 0.14  # 0.2 * 0.5, and blurs too weak to see
    assert torch.isfinite(strong_view(torch.ones(4, 2, 8, 8), torch.Generator())).all()
    assert torch.isfinite(strong_view(torch.ones(4, 2, 8, 8).half(), torch.Generator())).all()
    again = strong_view(images, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found, again, rtol=0, atol=0)


def test_images_of_three_dimensions() -> None:
    images = torch.randn(3, 2, 5, 6, 7)
    assert strong_view(images, torch.Generator().manual_seed(2)).shape == images.shape
