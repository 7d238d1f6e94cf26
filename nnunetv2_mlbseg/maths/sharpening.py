"""Sharpening: the same order of classes, with more of the probability on the first."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.tensors import at_least_float32


def sharpened(log_probabilities: Tensor, temperature: float) -> Tensor:
    """p_c^(1/T) over its sum (Berthelot et al., NeurIPS 2019), computed as the softmax of log p / T.

    Powers themselves vanish in half precision. For two classes and T = 0.1 it is MC-Net's sharpening (Wu et al., MICCAI
    2021), whose own code takes every class by itself, which is right for two classes alone.

    Args:
        log_probabilities: (B, C, *S) up to a constant at every pixel, so that logits do as well.
        temperature: T. 1: unchanged; towards 0: one-hot.

    Returns:
        (B, C, *S) in float32 or better. Gradient flows.
    """
    return (at_least_float32(log_probabilities) / temperature).softmax(dim=1)


def sharpened_mean(probabilities: list[Tensor], temperature: float) -> Tensor:
    """The mean of several (B, C, *S), sharpened."""
    mean = at_least_float32(torch.stack(probabilities).mean(dim=0))
    return sharpened(mean.clamp_min(torch.finfo(mean.dtype).tiny).log(), temperature)
