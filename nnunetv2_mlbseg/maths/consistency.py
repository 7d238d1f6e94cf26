"""Agreement between predictions: among the views (Eq. 11) and with the teacher (Eq. 13).

Both are squared distances between class probabilities: no unit, 0 for agreement, at most 2 per pixel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, sums_of_products, unchanged


def view_consistency(aligned: Tensor, covered: Tensor, total: Total = unchanged) -> Tensor:
    """Mean squared distance between the predictions of every pair of views (Eq. 11).

    At a pixel that n views cover, the sum of |p_q - p_v|^2 over the pairs is n * sum_v |p_v|^2 - |sum_v p_v|^2, which
    is n * sum_v |p_v - mean|^2. The latter is used: linear in V like the former, without cancellation.

    Deviations: predictions are compared in the image's frame, not in that of view q; pairs count only where both
    views cover the pixel; gradient flows into both sides of a pair.

    Args:
        aligned: (V, B, C, *S) probabilities in the image's frame.
        covered: (V, B, *S) bool, which view covers which pixel.
        total: sums over the processes that share a batch; the result is then this process's share.

    Returns:
        A scalar: the mean over all valid (pair, pixel) combinations; 0 if there is none, as with a single view.
    """
    aligned = at_least_float32(aligned)
    views = covered.sum(dim=0).to(aligned.dtype)
    pairs = views * (views - 1) / 2
    spread: Tensor = _Spread.apply(aligned, covered, views)
    return (views * spread).sum() / total(pairs.sum()).clamp_min(1)


class _Spread(torch.autograd.Function):
    """sum_v |p_v - mean|^2 at every pixel over the views that cover it, (B, *S), one view after the other.

    Takes maps (V, B, C, *S), which view covers what (V, B, *S), and how many do (B, *S).
    """

    @staticmethod
    def forward(ctx: Any, aligned: Tensor, covered: Tensor, views: Tensor) -> Tensor:
        seen = covered.unsqueeze(2)
        mean = torch.zeros_like(aligned[0])
        for view, inside in zip(aligned, seen, strict=True):
            mean += torch.where(inside, view, 0.0)
        mean /= views.clamp_min(1).unsqueeze(1)
        apart, spread = torch.empty_like(aligned), torch.zeros_like(views)
        for found, view, inside in zip(apart, aligned, seen, strict=True):
            torch.sub(view, mean, out=found).masked_fill_(~inside, 0)
            spread += found.square().sum(dim=1)
        ctx.save_for_backward(apart)
        return spread

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """2 (p_v - mean): what the mean adds cancels, since the distances from it add up to 0."""
        (apart,) = ctx.saved_tensors
        return (2 * gradient).unsqueeze(1) * apart, None, None


def teacher_consistency(
    student_probabilities: Tensor, teacher_probabilities: Tensor, total: Total = unchanged
) -> Tensor:
    """Mean over pixels of the squared distance between student and teacher (Eq. 13).

    Args:
        student_probabilities: (N, C, *S). Gradient flows into them.
        teacher_probabilities: (N, C, *S). Taken as constants: no gradient flows into them.
        total: sums over the processes that share a batch; the result is then this process's share.

    Returns:
        A scalar: the squared distance summed over classes, averaged over images and pixels.
    """
    student = at_least_float32(student_probabilities)
    distance: Tensor = _SquaredDistance.apply(student, at_least_float32(teacher_probabilities.detach()))
    return distance / total(distance.new_full((), student[:, 0].numel()))


class _SquaredDistance(torch.autograd.Function):
    """The sum of the squared differences of two (N, C, *S); gradient flows into the first."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        apart = first - second
        ctx.save_for_backward(apart)
        return sums_of_products(apart, apart).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (apart,) = ctx.saved_tensors
        return 2 * gradient * apart, None
