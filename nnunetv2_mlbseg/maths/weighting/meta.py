"""Meta-learned weights of every pixel for itself (Eq. 4-8, weighting "meta").

The virtual step (Eq. 4) is taken at w = 0, so it leaves theta where it is, and Eq. 6 becomes, for every pixel,

    w = alpha * beta * < grad_theta CE_pixel(theta), grad_theta L_clean(theta) >.

With dz the derivative of that pixel's logits along the clean gradient, this is sum_c softmax_c dz_c - dz_y. All pixels
and both kinds of label share one pass of `logit_tangents`. The derivation is in docs/explanation/method.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import WeightedLabels
from nnunetv2_mlbseg.maths.records import NoRecord
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged
from nnunetv2_mlbseg.maths.weighting.normalization import normalize_weights
from nnunetv2_mlbseg.maths.weighting.seen import Seen


@dataclass(frozen=True)
class Meta:
    """Both labels of a pixel by their own derivatives, each scale by those of its own logits.

    Attributes:
        normalization: see `normalize_weights`.
    """

    normalization: str

    needs_tangents: ClassVar[bool] = True
    weighs_by_tangents: ClassVar[bool] = True

    def begin(self, classes: int, cases: int = 0, device: torch.device | str = "cpu", groups: int = 1) -> NoRecord:
        """Nothing is remembered."""
        return NoRecord()

    def learned(self, seen: Seen, state: NoRecord, total: Total = unchanged) -> NoRecord:
        """The state as it is."""
        return state

    def weigh(self, seen: Seen, state: NoRecord, total: Total = unchanged) -> list[WeightedLabels]:
        """Labels resized as nnU-Net does, raw weights of either sign (Eq. 4-6), normalised (Eq. 7, 8).

        Raises:
            ValueError: no derivatives.
        """
        weighted = []
        for size, derivatives in zip(seen.sizes, seen.needed_derivatives(), strict=True):
            n, p = seen.labels_at(size)
            raw = label_weights(derivatives, n), label_weights(derivatives, p)
            weighted.append(WeightedLabels(n, p, *raw, *normalize_weights(*raw, self.normalization, total=total)))
        return weighted


def class_derivatives(logits: Tensor, tangents: Tensor) -> Tensor:
    """What a step that makes a pixel more like class k does for the clean loss, for every pixel and class k.

    It is < grad_theta CE_pixel, v >: how fast a step along -grad CE_pixel lowers the loss that v is the gradient of,
    CE_pixel with class k as the label. Eq. 4-6 up to the positive factor alpha * beta.

    Args:
        logits, tangents: (B, C, *S) from `logit_tangents`. No gradient flows.

    Returns:
        (B, C, *S), of either sign: sum_c softmax_c dz_c - dz_k.
    """
    tangents = at_least_float32(tangents.detach())
    found = at_least_float32(logits.detach()).softmax(dim=1).to(tangents.dtype)
    mean = found.mul_(tangents).sum(dim=1, keepdim=True)
    return torch.sub(mean, tangents, out=found)


def label_weights(derivatives: Tensor, labels: Tensor) -> Tensor:
    """The raw weight of every pixel's label (Eq. 4-6 up to a positive factor).

    Args:
        derivatives: (B, C, *S) from `class_derivatives`.
        labels: (B, *S) int64, negative = ignored.

    Returns:
        (B, *S), of either sign; 0 where the label is ignored.
    """
    own = derivatives.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1)
    return torch.where(labels >= 0, own, 0.0)
