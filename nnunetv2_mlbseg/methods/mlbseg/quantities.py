"""What the log says of a step: its weights in numbers, and what went wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import WeightedLabels
from nnunetv2_mlbseg.maths.tensors import Total, unchanged
from nnunetv2_mlbseg.progress.epoch_log import Quantities
from nnunetv2_mlbseg.training.method import LOSSES, OF_ALL, STEPS

LOGGED = Quantities(
    panels={
        LOSSES: {
            **OF_ALL[LOSSES],
            "bootstrap": "weighted labels (Eq. 9)",
            "dice": "Dice of their mixture",
            "views": "consistency of the views (Eq. 11)",
            "teacher": "consistency with the teacher (Eq. 13)",
            "strong": "sure labels of strong views",
            "supervised": "clean batch",
        },
        "mean weight before normalisation": {
            "weight_imperfect": "imperfect label",
            "weight_pseudo": "pseudo label",
            "weight_generated": "factor of unlabeled images",
        },
        "share of pixels": {
            "share_imperfect": "imperfect label has a weight",
            "share_pseudo": "pseudo label has a weight",
            "agreement": "imperfect and pseudo label agree",
        },
        STEPS: {
            **OF_ALL[STEPS],
            "no_weight": "no pixel has a weight",
            "weight_overflow": "a weight was not finite",
            "no_foreground": "clean batch without foreground",
        },
    },
    by_view=tuple(f"{what}_{label}_by_view" for what in ("weight", "sum") for label in ("imperfect", "pseudo")),
)
"""The quantities of a training by MLB-Seg."""


@torch.no_grad()
def statistics(weighted: WeightedLabels, views: int = 1, total: Total = unchanged) -> dict[str, Tensor]:
    """What the log keeps of the weights at one scale, on the device: scalars, and vectors with one entry per view.

    Args:
        views: V; the batch is view-major.
        total: Sums over the processes that share a batch; the values are then this process's shares.

    ``weight_*``: mean of the positive part of the raw weights over labelled pixels; ``share_*``: share of labelled
    pixels with a weight; ``agreement``: share of pixels with both labels where the two are the same.
    ``weight_*_by_view`` ``(V,)``: the mean for each view; ``sum_*_by_view`` ``(V,)``: what the normalised weights of
    each view add up to.
    """
    found = {}
    for name in ("imperfect", "pseudo"):
        labels, raw, weight = (getattr(weighted, field) for field in (name, f"raw_{name}", f"weight_{name}"))
        labelled = total((labels >= 0).sum()).clamp_min(1)
        raw = torch.nan_to_num(raw).clamp_min(0)
        found[f"weight_{name}"] = raw.sum() / labelled
        labelled_by_view = total((labels >= 0).reshape(views, -1).sum(dim=1)).clamp_min(1)
        found[f"weight_{name}_by_view"] = raw.reshape(views, -1).sum(dim=1) / labelled_by_view
        found[f"sum_{name}_by_view"] = weight.reshape(views, -1).sum(dim=1)
        found[f"share_{name}"] = (weight > 0).sum() / labelled
    both = (weighted.imperfect >= 0) & (weighted.pseudo >= 0)
    found["agreement"] = (both & (weighted.imperfect == weighted.pseudo)).sum() / total(both.sum()).clamp_min(1)
    return found


@torch.no_grad()
def trouble(weighted: WeightedLabels, derivatives: Tensor | None, clean: Tensor) -> Tensor:
    """What an epoch's log counts: ``(3,)`` numbers, which processes that share a batch add up.

    Pixels with a weight, 1 if a derivative is not finite, and foreground pixels of the clean labels, (B, *S) int64.
    """
    weights = torch.stack([weighted.weight_imperfect, weighted.weight_pseudo])
    extremes = (
        weights.new_zeros(2) if derivatives is None else torch.stack(torch.aminmax(derivatives))
    )  # NaN is one of both
    return torch.stack([(weights > 0).sum(), (~torch.isfinite(extremes)).any(), (clean > 0).sum()]).float()
