"""Agreement between predictions: among the views (Eq. 11) and with the teacher (Eq. 13).

Both are squared distances between class probabilities: no unit, 0 for agreement, at most 2 per pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, share_of_mean, unchanged


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
    seen = covered.unsqueeze(2)
    aligned = torch.where(seen, at_least_float32(aligned), 0.0)
    views = seen.sum(dim=0).to(aligned.dtype)
    mean = aligned.sum(dim=0) / views.clamp_min(1)
    spread = torch.where(seen, aligned - mean, 0.0).square().sum(dim=(0, 2))
    views = views.squeeze(1)
    pairs = views * (views - 1) / 2
    return (views * spread).sum() / total(pairs.sum()).clamp_min(1)


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
    teacher = at_least_float32(teacher_probabilities.detach())
    return share_of_mean((student - teacher).square().sum(dim=1), total)
