"""Do wrong pixels get less weight? The weights of a batch held against true labels, for studies only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from nnunetv2_mlbseg.maths.labels import WeightedLabels


@dataclass(frozen=True)
class LabelQuality:
    """One kind of label at the pixels of one batch where it and the true label are known; flat arrays of one length.

    Attributes:
        wrong: Whether the label differs from the true one.
        disputed: Whether it differs from the student's prediction.
        raw: The strategy's weight of the label before normalisation, of either sign for Eq. 4-6.
        weight: Its normalised weight (Eq. 7, 8).
        doubt: 1 - the probability that the student gives the label; a detector of wrong labels to compare with.
    """

    wrong: np.ndarray
    disputed: np.ndarray
    raw: np.ndarray
    weight: np.ndarray
    doubt: np.ndarray

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, truth: Tensor, raw: Tensor, weight: Tensor) -> LabelQuality:
        """From logits ``(N, C, *S)`` and labels, true labels and weights ``(N, *S)``; negative labels are left out."""
        known = (labels >= 0) & (truth >= 0)
        own = logits.float().softmax(dim=1).gather(1, labels.clamp_min(0).unsqueeze(1)).squeeze(1)
        maps = (labels != truth, labels != logits.argmax(dim=1), torch.nan_to_num(raw), weight, 1 - own)
        return cls(*(values[known].cpu().numpy() for values in maps))

    def where(self, chosen: np.ndarray) -> LabelQuality:
        """The same at some of the pixels."""
        return LabelQuality(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def auroc(wrong: np.ndarray, score: np.ndarray) -> float | None:
    """Area under the ROC curve of ``score`` as a detector of ``wrong``: 1 perfect, 0.5 chance; None for one class only.

    It is the probability that a wrong pixel scores above a right one, ties counted half.
    """
    if wrong.all() or not wrong.any():
        return None
    return float(roc_auc_score(wrong, score))


def summarize(found: Sequence[LabelQuality]) -> dict[str, Any]:
    """Numbers over all batches, for all pixels and for the disputed ones."""
    return {
        "all": _summarize(found),
        "disputed": _summarize([batch.where(batch.disputed) for batch in found]),
    }


def _summarize(found: Sequence[LabelQuality]) -> dict[str, Any]:
    names = LabelQuality.__dataclass_fields__
    pooled = LabelQuality(*(np.concatenate([getattr(batch, name) for batch in found]) for name in names))
    by_batch = [value for batch in found if (value := auroc(batch.wrong, -batch.raw)) is not None]
    numbers: dict[str, Any] = {
        "pixels": len(pooled.wrong),
        "share_wrong": _mean(pooled.wrong),
        "auroc_raw_weight": auroc(pooled.wrong, -pooled.raw),
        "auroc_raw_weight_by_batch": by_batch,
        "auroc_weight": auroc(pooled.wrong, -pooled.weight),
        "auroc_doubt": auroc(pooled.wrong, pooled.doubt),
    }
    average = _mean(pooled.weight)
    for name, chosen in (("wrong", pooled.wrong), ("right", ~pooled.wrong)):
        mean = _mean(pooled.weight[chosen])
        numbers[f"relative_weight_{name}"] = mean / average if average and mean is not None else None
        numbers[f"share_with_weight_{name}"] = _mean(pooled.weight[chosen] > 0)
        numbers[f"raw_weight_{name}"] = _mean(pooled.raw[chosen])
    return numbers


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean(dtype=np.float64)) if values.size else None


def judge(logits: Tensor, labels: WeightedLabels, truth: Tensor) -> dict[str, LabelQuality]:
    """Both labels of a weighed batch against the truth.

    Args:
        logits: The student's, ``(N, C, *S)``.
        truth: True labels, ``(N, *S)``, negative = unknown.
    """
    return {
        "imperfect": LabelQuality.of(logits, labels.imperfect, truth, labels.raw_imperfect, labels.weight_imperfect),
        "pseudo": LabelQuality.of(logits, labels.pseudo, truth, labels.raw_pseudo, labels.weight_pseudo),
    }
