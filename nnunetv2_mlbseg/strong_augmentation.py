"""Strong augmentation of what the student sees: the teacher labels the image, the student learns it from a worse one.

A teacher that is the student's own average has little to tell it about an image that both see alike. FixMatch (Sohn et
al. 2020) labels a weakly augmented image and trains on a strongly augmented one; here the intensities change and the
geometry stays, so that labels and pseudo labels fit as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.mean_teacher import EVERYTHING, drawn_for

CONTRAST, BRIGHTNESS, NOISE = 0.5, 0.4, 0.4
"""At strength 1: the contrast is 1 +- 0.5, the brightness moves by up to 0.4 standard deviations of the image, and the
noise has up to 0.4 of them; the image is up to wholly replaced by its mean over 3 pixels along every axis."""
OFTEN, HALF = 0.8, 0.5
"""Chances: contrast and brightness 0.8 each; blur and noise 0.5 each."""


@torch.no_grad()
def strongly_augmented(
    images: Tensor,
    strength: float,
    generator: torch.Generator | None = None,
    *,
    views: int = 1,
    batch_size: int | None = None,
    rows: slice = EVERYTHING,
) -> Tensor:
    """Change contrast and brightness, blur and add noise, drawn anew for every image in every view.

    The channels of an image share what is drawn except for the noise, and each has a standard deviation of its own.

    Args:
        images: (V*B, C, *S), view-major, S two- or three-dimensional.
        strength: 0 (the images as they are) to 1.
        generator: draws on its own device.
        views, batch_size, rows: as for :func:`~nnunetv2_mlbseg.mean_teacher.disturb`.

    Returns:
        Of the shape and type of ``images``, without gradient.
    """

    def drawn(draw: Callable[..., Tensor], *shape: int) -> Tensor:
        return drawn_for(images, draw, shape, generator, views, batch_size, rows)

    def sometimes(chance: float, value: Tensor) -> Tensor:
        """``value``, or 0 for the other images."""
        return value * (drawn(torch.rand, *one) < chance)

    def evenly() -> Tensor:
        return drawn(torch.rand, *one)

    space = tuple(range(2, images.ndim))
    one = (1,) * (images.ndim - 1)
    deviation, mean = torch.std_mean(images, dim=space, keepdim=True, correction=0)
    contrast = 1 + sometimes(OFTEN, strength * CONTRAST * (2 * evenly() - 1))
    brightness = sometimes(OFTEN, strength * BRIGHTNESS * (2 * evenly() - 1))
    seen = (images - mean) * contrast + mean + deviation * brightness
    seen = torch.lerp(seen, _blurred(seen), sometimes(HALF, strength * evenly()))
    noise = drawn(torch.randn, *images.shape[1:])
    return seen + noise * deviation * sometimes(HALF, strength * NOISE * evenly())


def _blurred(images: Tensor) -> Tensor:
    """The mean over 3 pixels along every axis; at the edge over those that there are."""
    pool = F.avg_pool2d if images.ndim == 4 else F.avg_pool3d
    return pool(images, 3, stride=1, padding=1, count_include_pad=False)
