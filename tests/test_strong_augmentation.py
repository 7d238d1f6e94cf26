"""Strong augmentation of the student's images: how strong, how often, per image, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from maths_support import NoHostReads

from nnunetv2_mlbseg import strong_augmentation
from nnunetv2_mlbseg.strong_augmentation import strongly_augmented


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def alone(monkeypatch):
    """Switch everything off but what is named, and that always on: ``alone("NOISE")``."""

    def switch(name: str | None) -> None:
        for other in {"CONTRAST", "BRIGHTNESS", "NOISE"} - {name}:
            monkeypatch.setattr(strong_augmentation, other, 0.0)
        monkeypatch.setattr(strong_augmentation, "OFTEN", 1.0)
        monkeypatch.setattr(strong_augmentation, "HALF", 1.0 if name in ("NOISE", "blur") else 0.0)
        if name == "NOISE":  # what is blurred shares the chance
            monkeypatch.setattr(strong_augmentation, "_blurred", lambda images: images)

    return switch


@pytest.mark.parametrize("shape", [(6, 2, 16, 12), (4, 1, 8, 10, 6)])
def test_strength_0_leaves_the_images_and_1_changes_shape_type_and_input_not(shape):
    images = torch.randn(shape, generator=seeded())
    before = images.clone()
    torch.testing.assert_close(strongly_augmented(images, 0.0, seeded()), images)
    found = strongly_augmented(images.requires_grad_(), 1.0, seeded())
    assert found.shape == images.shape and found.dtype == images.dtype and not found.requires_grad
    assert torch.equal(images, before) and not torch.allclose(found, images, atol=0.1)


def test_contrast_scales_about_the_mean(alone):
    alone("CONTRAST")
    images = torch.randn(4000, 1, 4, 4, generator=seeded()) * 3 + 7
    found = strongly_augmented(images, 0.5, seeded(1))
    factor = found.std((1, 2, 3)) / images.std((1, 2, 3))
    torch.testing.assert_close(found.mean((1, 2, 3)), images.mean((1, 2, 3)))
    assert 0.75 <= factor.min() < 0.76 and 1.24 < factor.max() <= 1.2501  # 1 +- 0.5 * 0.5, evenly
    assert factor.mean().item() == pytest.approx(1, abs=0.01)
    assert factor.std().item() == pytest.approx(0.5 / 12**0.5, abs=0.005)


def test_brightness_moves_by_the_deviation_of_each_channel(alone):
    alone("BRIGHTNESS")
    images = torch.randn(3000, 2, 6, 6, generator=seeded()) * torch.tensor([1.0, 50.0]).view(2, 1, 1)
    found = strongly_augmented(images, 1.0, seeded(1))
    moved = (found - images) / images.std((2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(moved, moved[:, :1, :1, :1].expand_as(moved), atol=1e-4, rtol=0)  # also over channels
    assert -0.4 <= moved.min() < -0.39 and 0.39 < moved.max() <= 0.4001


def test_noise_is_new_everywhere_and_up_to_the_given_deviation(alone):
    alone("NOISE")
    images = torch.randn(400, 2, 24, 24, generator=seeded()) * 5
    noise = (strongly_augmented(images, 1.0, seeded(1)) - images) / images.std((2, 3), keepdim=True)
    sigma = noise.std((1, 2, 3))
    assert sigma.min() < 0.02 and 0.38 < sigma.max() < 0.42 and noise.mean().item() == pytest.approx(0, abs=0.01)
    assert torch.corrcoef(noise[:20, 0].flatten(1)).fill_diagonal_(0).abs().max() < 0.25
    assert torch.corrcoef(torch.stack([noise[:, 0].flatten(), noise[:, 1].flatten()]))[0, 1].abs() < 0.02


def test_blur_goes_towards_the_mean_of_three_pixels(alone):
    alone("blur")
    images = torch.randn(50, 1, 9, 7, generator=seeded())
    found = strongly_augmented(images, 1.0, seeded(1))
    for image, one in zip(images[:, 0].double().numpy(), found[:, 0].double().numpy(), strict=True):
        counted = scipy.ndimage.uniform_filter(np.ones_like(image), 3, mode="constant")
        blurred = scipy.ndimage.uniform_filter(image, 3, mode="constant") / counted
        share = ((one - image) * (blurred - image)).sum() / ((blurred - image) ** 2).sum()
        assert 0 <= share <= 1
        np.testing.assert_allclose(one, image + share * (blurred - image), atol=1e-5)


def test_how_often_each_happens(monkeypatch):
    """A constant image with a single bright pixel far from the corner: noise alone moves pixels of the corner apart."""
    images = torch.zeros(4000, 1, 12, 12)
    images[:, 0, 9, 9] = 1
    found = strongly_augmented(images, 1.0, seeded(2))
    corner = found[:, 0, :6, :6].flatten(1)
    noisy = (corner.std(1) > 1e-6).float().mean().item()
    assert noisy == pytest.approx(0.5, abs=0.03)
    quiet = found[corner.std(1) <= 1e-6]
    blurred = ((quiet[:, 0, 9, 8] - quiet[:, 0, 0, 0]).abs() > 1e-6).float().mean().item()
    assert blurred == pytest.approx(0.5, abs=0.04)
    assert (corner.mean(1) == 0).float().mean().item() < 0.3


def test_the_generator_fixes_it_and_every_image_differs():
    images = torch.randn(1, 1, 8, 8, generator=seeded()).expand(5, -1, -1, -1).contiguous()
    first, again = (strongly_augmented(images, 1.0, seeded(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert all(not torch.allclose(first[0], other, atol=1e-3) for other in first[1:])


def test_parts_of_a_batch_get_what_the_whole_would_give_them():
    images = torch.randn(2, 3, 1, 8, 8, generator=seeded())  # two views of three images
    whole = strongly_augmented(images.flatten(0, 1), 1.0, seeded(4), views=2, batch_size=3).unflatten(0, (2, 3))
    for rows in (slice(0, 2), slice(2, 3)):
        part = strongly_augmented(images[:, rows].flatten(0, 1), 1.0, seeded(4), views=2, batch_size=3, rows=rows)
        torch.testing.assert_close(part, whole[:, rows].flatten(0, 1))


def test_no_value_is_read_on_the_host():
    images = torch.zeros(2, 1, 8, 8)
    with NoHostReads():
        found = strongly_augmented(images, 1.0)
    assert torch.equal(found, images), "an image without contrast has no deviation that could move it"
