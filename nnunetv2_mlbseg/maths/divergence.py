"""How far predictions of several views are apart, in nats: Jensen-Shannon divergence."""

from __future__ import annotations

from torch import Tensor

from nnunetv2_mlbseg.maths.entropy import entropy
from nnunetv2_mlbseg.maths.masked_mean import mean_where
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged


def sure_divergence(aligned: Tensor, covered: Tensor, certainty: float, total: Total = unchanged) -> Tensor:
    """The entropy of the mean less the mean entropy over the views, mean over pixels where the mean is sure of a class.

    It is the mean Kullback-Leibler divergence of the views from their mean.

    Args:
        aligned: (V, B, C, *S) probabilities in the image's frame. Gradient flows into all of them.
        covered: (V, B, *S) bool, which view covers which pixel; view 0 covers all.
        certainty: Least probability of the most probable class in the mean.
        total: Sums over the processes that share a batch.

    Returns:
        A scalar from 0 to ln V, this process's share; 0 where no pixel is sure.
    """
    aligned = at_least_float32(aligned)
    shown = covered.to(aligned.dtype)
    views = shown.sum(dim=0)
    mean = (aligned * shown.unsqueeze(2)).sum(dim=0) / views.unsqueeze(1)
    of_views = entropy(aligned.flatten(0, 1)).unflatten(0, aligned.shape[:2])
    divergence = entropy(mean) - (of_views * shown).sum(dim=0) / views
    sure = mean.detach().amax(dim=1) >= certainty
    return mean_where(sure, divergence, total)
