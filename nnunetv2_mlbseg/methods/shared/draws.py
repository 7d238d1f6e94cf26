"""Random draws of a step. They come from generators of the method's own, which checkpoints keep.

Where processes share a batch, all of them draw for the whole of it and each takes its own part, so that no two images
get the same numbers. A clean batch that they share unevenly moves their generators unequally; every epoch begins with
those of the first process, which its checkpoint keeps for all (`Learning.agree_on_draws`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nnunetv2_mlbseg.training.passes import Passes


def normal(passes: Passes, shape: Sequence[int], purpose: str) -> Tensor:
    """Numbers from N(0, 1) in this shape, on the device."""
    return _own_part(torch.randn, passes, shape, purpose)


def uniform(passes: Passes, shape: Sequence[int], purpose: str) -> Tensor:
    """Numbers from 0 to 1 in this shape, on the device."""
    return _own_part(torch.rand, passes, shape, purpose)


def _own_part(draw: Callable[..., Tensor], passes: Passes, shape: Sequence[int], purpose: str) -> Tensor:
    """Of an imperfect batch, which processes may share unevenly, the rows of this one; else one of equal blocks."""
    generator, rows = passes.generators.on_device(purpose), passes.share_of_images()
    if rows is not None and shape[0] == rows.stop - rows.start:
        return draw((passes.images, *shape[1:]), generator=generator, device=passes.device)[rows]
    blocks = draw((passes.processes.count, *shape), generator=generator, device=passes.device)
    return blocks[passes.processes.rank]


def disturbed(passes: Passes, images: Tensor, scale: float, purpose: str = "noise") -> Tensor:
    """Images with Gaussian noise of a standard deviation ``scale``, cut off at twice that.

    Official scripts that learn from clean and unlabeled scans have clamp(0.1 N(0, 1), -0.2, 0.2).
    """
    noise = scale * normal(passes, images.shape, purpose)
    return images + noise.clamp(-2 * scale, 2 * scale)


def beta(passes: Passes, count: int, alpha: float, purpose: str) -> Tensor:
    """``count`` numbers from Beta(alpha, alpha), on the device; drawn on the host, where they are cheap."""
    generator, processes = passes.generators.on_host(purpose), passes.processes
    shape = torch.full((processes.count, 2, count), alpha)
    first, second = torch._standard_gamma(shape, generator=generator)[processes.rank]
    return (first / (first + second)).to(passes.device, non_blocking=True)
