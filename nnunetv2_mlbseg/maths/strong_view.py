"""Strong views of images: intensities change and places do not, so that labels stay where they are.

Drawn per image, on the device. Images are normalised ones, with a mean near 0 and a deviation near 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32

CHANCE_OF_JITTER, CHANCE_OF_BLUR = 0.8, 0.5
"""Of an image, as in UniMatch's code (Yang et al. 2023)."""
BRIGHTNESS, CONTRAST, GAMMA = 0.5, 0.5, 0.5
"""Most that is added, in standard deviations; most by which contrast changes; most of the logarithm of gamma."""
BLUR_PX = (0.1, 2.0)
"""Least and largest standard deviation of the blur, in pixels."""
RADIUS_PX = 6


def strong_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and gamma changed in most images, half of them blurred.

    In place of colour jitter's hue and saturation, which scans have not, stands gamma: a network with instance
    normalisation does not see brightness and contrast, which its first layer takes out again.

    Args:
        images: (B, channels, *S).
        generator: On the device of the images.
    """
    images = at_least_float32(images)
    jitter, blur = (_drawn(images, generator) < chance for chance in (CHANCE_OF_JITTER, CHANCE_OF_BLUR))
    images = torch.where(jitter, jittered(images, *(_about_0(images, generator) for _ in range(3))), images)
    spread = BLUR_PX[0] + (BLUR_PX[1] - BLUR_PX[0]) * _drawn(images, generator)
    return torch.where(blur, blurred(images, spread.flatten()), images)


def jittered(images: Tensor, brightness: Tensor, contrast: Tensor, gamma: Tensor) -> Tensor:
    """Change the intensities of each image: (B, channels, *S), and amounts from -1 to 1 that broadcast to it.

    Gamma acts on intensities scaled to 0 to 1 by least and largest of each channel, and keeps both.
    """
    axes = tuple(range(2, images.ndim))
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    width = (high - low).clamp_min(torch.finfo(images.dtype).tiny)
    images = low + width * ((images - low) / width).clamp(0, 1) ** (GAMMA * gamma).exp()
    mean = images.mean(axes, keepdim=True)
    return mean + (images - mean) * (1 + CONTRAST * contrast) + BRIGHTNESS * brightness


def blurred(images: Tensor, spread_px: Tensor) -> Tensor:
    """Gaussian blur, (B, channels, *S); the standard deviation of each image, (B,) in pixels; edges are repeated."""
    places = torch.arange(-RADIUS_PX, RADIUS_PX + 1, device=images.device, dtype=images.dtype)
    kernels = (-0.5 * (places / spread_px.unsqueeze(1)) ** 2).exp()
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(images.shape[1], dim=0)
    found = images.flatten(0, 1)
    for axis in range(1, found.ndim):
        found = _along(found.movedim(axis, -1), kernels).movedim(-1, axis)
    return found.view(images.shape)


def _along(maps: Tensor, kernels: Tensor) -> Tensor:
    """Each of (M, *S, L) along its last axis with a kernel of its own, (M, K)."""
    lines = maps.flatten(1, -2)
    padded = F.pad(lines, (RADIUS_PX, RADIUS_PX), mode="replicate")
    found = F.conv2d(padded.unsqueeze(0), kernels.view(len(kernels), 1, 1, -1), groups=len(kernels))
    return found.view(maps.shape)


def _drawn(images: Tensor, generator: torch.Generator) -> Tensor:
    """A number from 0 to 1 for each image."""
    return torch.rand((len(images), *[1] * (images.ndim - 1)), generator=generator, device=images.device)


def _about_0(images: Tensor, generator: torch.Generator) -> Tensor:
    return 2 * _drawn(images, generator) - 1
