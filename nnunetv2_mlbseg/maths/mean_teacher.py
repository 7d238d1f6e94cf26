"""The mean teacher: an exponential moving average of the student, fed a disturbed input (section 3.3)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from nnunetv2_mlbseg.networks.surgery import plain_network

EVERYTHING = slice(None)


def make_teacher(network: nn.Module) -> nn.Module:
    """A copy of ``network`` that takes no gradient, in eval mode. Wrappers (compile, data parallel) are left behind."""
    teacher = copy.deepcopy(plain_network(network))
    return teacher.requires_grad_(False).eval()


@torch.no_grad()
def ema_update_(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Set the teacher to decay * teacher + (1 - decay) * student, in place; buffers are copied.

    Raises:
        ValueError: the two networks do not have the same parameters and buffers.
    """
    teacher, student = plain_network(teacher), plain_network(student)
    averaged = _paired(list(teacher.parameters()), list(student.parameters()), "parameters")
    copied = _paired(list(teacher.buffers()), list(student.buffers()), "buffers")
    if averaged[0]:
        torch._foreach_lerp_(averaged[0], averaged[1], 1 - decay)
    if copied[0]:
        torch._foreach_copy_(copied[0], copied[1])


def _paired(ours: list[Tensor], theirs: list[Tensor], what: str) -> tuple[list[Tensor], list[Tensor]]:
    if [t.shape for t in ours] != [t.shape for t in theirs]:
        raise ValueError(f"teacher and student differ: {len(ours)} and {len(theirs)} {what}, or other shapes")
    return ours, theirs


def disturb(
    images: Tensor,
    noise_scale: float,
    generator: torch.Generator | None = None,
    *,
    views: int = 1,
    batch_size: int | None = None,
    rows: slice = EVERYTHING,
) -> Tensor:
    """The teacher's input (Eq. 12): images + noise_scale * N(0, 1), new noise at every pixel and channel.

    Args:
        images: (V*B, C, *S), view-major.
        noise_scale: gamma, in units of the (normalised) image intensities; the paper's mu is 0 and sigma is 1.
        generator: draws on its own device. One on the images' device spares a copy in every step.
        views, batch_size, rows: where ``images`` is the part ``rows`` of a batch of ``batch_size`` in ``views`` views,
            the noise is drawn for all of it, so that processes with equal generators disturb it as one would.
    """
    device = images.device if generator is None else generator.device
    drawn = (views, images.shape[0] // views if batch_size is None else batch_size, *images.shape[1:])
    noise = torch.randn(drawn, generator=generator, device=device, dtype=images.dtype)[:, rows].flatten(0, 1)
    return images + noise_scale * noise.to(images.device)
