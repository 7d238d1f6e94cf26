"""How much each pixel's two labels count: strategies behind one signature.

A strategy is a function ``weigh(logits, tangents, imperfect_labels, pseudo_labels, how)`` that returns the two weight
maps of Eq. 9. A new way to weigh pixels is one more function and one more entry in `WEIGHTINGS`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nnunetv2_mlbseg.meta_reweighting import label_weights, normalize_weights
from nnunetv2_mlbseg.tensors import at_least_float32

Weighting = Callable[[Tensor, "Tensor | None", Tensor, Tensor, str], "tuple[Tensor, Tensor]"]
"""(logits (B, C, *S), tangents (B, C, *S) or None, imperfect and pseudo labels (B, *S), how) -> two maps (B, *S)."""


def meta_weights(
    logits: Tensor, tangents: Tensor | None, imperfect_labels: Tensor, pseudo_labels: Tensor, how: str
) -> tuple[Tensor, Tensor]:
    """The meta-learned weights of Eq. 4-8. ``tangents`` are the logits' derivatives along the clean gradient.

    Raises:
        ValueError: no tangents, or an unknown ``how``.
    """
    if tangents is None:
        raise ValueError("meta weights need the tangents of the logits, got None")
    imperfect = label_weights(logits, tangents, imperfect_labels)
    return normalize_weights(imperfect, label_weights(logits, tangents, pseudo_labels), how)


def uniform_weights(
    logits: Tensor, tangents: Tensor | None, imperfect_labels: Tensor, pseudo_labels: Tensor, how: str
) -> tuple[Tensor, Tensor]:
    """The same weight for every labelled pixel (bootstrapping with fixed weights). ``tangents`` are not used.

    With "sum" and "accepted" each map sums to one over its own labelled pixels, with "joint" both together do.

    Raises:
        ValueError: an unknown ``how``.
    """
    dtype = at_least_float32(logits).dtype
    return normalize_weights((imperfect_labels >= 0).to(dtype), (pseudo_labels >= 0).to(dtype), how)


WEIGHTINGS: dict[str, Weighting] = {"meta": meta_weights, "uniform": uniform_weights}
"""The strategies by name."""

NEEDS_TANGENTS = frozenset({"meta"})
"""Those that need the pass of `logit_tangents`."""
