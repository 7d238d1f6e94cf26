"""How much each pixel's two labels count: strategies behind one signature.

A strategy is a function ``weigh(logits, tangents, imperfect_labels, pseudo_labels)`` that returns two raw weight maps.
`normalize_weights` makes them the weights of Eq. 9. A new way to weigh pixels is one more function and one more entry
in `WEIGHTINGS`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nnunetv2_mlbseg.maths.tangents.forward import label_weights
from nnunetv2_mlbseg.maths.tensors import at_least_float32

Weighting = Callable[[Tensor, "Tensor | None", Tensor, Tensor], "tuple[Tensor, Tensor]"]
"""(logits (B, C, *S), tangents (B, C, *S) or None, imperfect and pseudo labels (B, *S)) -> two raw maps (B, *S)."""


def meta_weights(
    logits: Tensor, tangents: Tensor | None, imperfect_labels: Tensor, pseudo_labels: Tensor
) -> tuple[Tensor, Tensor]:
    """The meta-learned weights of Eq. 4-6. ``tangents`` are the logits' derivatives along the clean gradient.

    Raises:
        ValueError: no tangents.
    """
    if tangents is None:
        raise ValueError("meta weights need the tangents of the logits, got None")
    return label_weights(logits, tangents, imperfect_labels), label_weights(logits, tangents, pseudo_labels)


def uniform_weights(
    logits: Tensor, tangents: Tensor | None, imperfect_labels: Tensor, pseudo_labels: Tensor
) -> tuple[Tensor, Tensor]:
    """1 for every labelled pixel (bootstrapping with fixed weights). ``tangents`` are not used."""
    dtype = at_least_float32(logits).dtype
    return (imperfect_labels >= 0).to(dtype), (pseudo_labels >= 0).to(dtype)


WEIGHTINGS: dict[str, Weighting] = {"meta": meta_weights, "uniform": uniform_weights}
"""The strategies that look at one batch alone, by name."""

TIED = "tied"
"""The strategy that remembers (`tied_weights`); `bootstrapping.weigh_disputes` composes it."""

WEIGHTING_NAMES = (TIED, *WEIGHTINGS)
"""What the configuration accepts."""

NEEDS_TANGENTS = frozenset({"meta", TIED})
"""Those that need the pass of `logit_tangents`."""
