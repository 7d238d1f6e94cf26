"""Which labels of an imperfect batch are noisy ones: all others are covered up, whatever stands there."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.training.batch import ImperfectImages, Target


def noisy_target(imperfect: ImperfectImages, ignore_label: int | None) -> Target:
    """nnU-Net's target with the ignore label at every pixel of images that are from no noisy case.

    A dataset without an ignore label has no such images.
    """
    if ignore_label is None:
        return imperfect.target
    targets = imperfect.target if isinstance(imperfect.target, list) else [imperfect.target]
    shown = [_shown(target, imperfect.case, ignore_label) for target in targets]
    return shown if isinstance(imperfect.target, list) else shown[0]


def _shown(target: Tensor, case: Tensor, ignore_label: int) -> Tensor:
    return torch.where((case >= 0).view(-1, *[1] * (target.ndim - 1)), target, ignore_label)
