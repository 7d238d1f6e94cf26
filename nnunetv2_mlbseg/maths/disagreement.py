"""What two networks learn where their labels differ (Song and Wang, MICCAI 2024: SDCL)."""

from __future__ import annotations

from torch import Tensor

from nnunetv2_mlbseg.maths.masked_mean import mean_where
from nnunetv2_mlbseg.maths.tensors import Total, at_least_float32, unchanged


def correction(logits: Tensor, labels: Tensor, differing: Tensor, total: Total = unchanged) -> Tensor:
    """The squared distance of probabilities and label, mean over classes and over the pixels that differ.

    Args:
        logits: (B, C, *S). Gradient flows into them.
        labels: (B, *S) int64, negative = ignored.
        differing: (B, *S) bool.
        total: Sums over the processes that share a batch; the result is then this process's share.
    """
    probabilities = at_least_float32(logits).softmax(dim=1)
    of_label = probabilities.gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1)
    squares = probabilities.square().sum(dim=1) - 2 * of_label + 1
    return mean_where(differing & (labels >= 0), squares / logits.shape[1], total)


def doubt(logits: Tensor, labels: Tensor, differing: Tensor, total: Total = unchanged) -> Tensor:
    """Mean over classes of -log p, over the differing pixels whose prediction is not the label.

    Its least value is ln C, at equal probabilities; the authors call it a divergence from them, with 1 for 1 / C.
    Arguments as in :func:`correction`.
    """
    logits = at_least_float32(logits)
    wrong = differing & (labels >= 0) & (logits.detach().argmax(dim=1) != labels)
    return mean_where(wrong, -logits.log_softmax(dim=1).mean(dim=1), total)
