"""Does the audit find what is wrong? Its maps, scores and proposals held against true labels. For studies only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnunetv2_mlbseg.audit.bayes import posterior, suspicion
from nnunetv2_mlbseg.audit.case_scores import label_scores
from nnunetv2_mlbseg.audit.common_knowledge import factors
from nnunetv2_mlbseg.audit.detection import Detection, rank_correlation, worst_found
from nnunetv2_mlbseg.audit.label_groups import any_of
from nnunetv2_mlbseg.audit.one_case import CaseAudit
from nnunetv2_mlbseg.maths.weighting.depth import LEVELS

DETECTORS = ("posterior", "network", "disagreement")
"""What is compared: the audit's suspicion; 1 - the network's probability of the given label; label != prediction."""

RANKINGS = (*DETECTORS, "softmin", "softmin_slices")
"""Case scores that are compared: the expected Dice under each of them, and cleanlab's (see :func:`softmin`), of all
voxels at once and as a mean over the slices."""

SOFTMIN_TEMPERATURE = 0.1  # cleanlab's default

KNOWLEDGE = ("network", "bayes", "bayes_true_confusion")
"""Whose segmentations are compared: the network's; that of Bayes' rule with the audit's confusion matrix; and that with
the matrix by which the label of the case truly errs, which no one has. The last says what the labels know beyond the
network, as far as class and depth tell how a label errs."""


def softmin(quality: NDArray[np.floating]) -> float:
    """cleanlab's quality score of an image: the mean of its pixels' scores, weighted by exp((1 - score) / 0.1).

    Args:
        quality: The network's probability of the given label at every pixel. Source: cleanlab.segmentation.rank and
            cleanlab.internal.multilabel_scorer.softmin, version 2.9.
    """
    values = quality.astype(np.float64)
    weights = np.exp((1 - values) / SOFTMIN_TEMPERATURE)
    return float((values * weights).sum() / weights.sum())


def softmin_slices(quality: Tensor, given: Tensor, axis: int) -> float:
    """The mean of :func:`softmin` over the slices, each an image as cleanlab takes it. Both (Z, Y, X)."""
    slices = zip(quality.movedim(axis, 0), given.movedim(axis, 0), strict=True)
    return float(np.mean([softmin(one[label >= 0].numpy()) for one, label in slices if (label >= 0).any()]))


def true_confusion(truth: Tensor, given: Tensor, levels: Tensor, classes: int) -> Tensor:
    """How a label errs, by the truth: (C, C, D), [t, n, d] the share of voxels of class t with the label n at depth d.

    Each of them has one voxel more than it has, so that nothing is impossible. Negative labels do not count.
    """
    known = (truth >= 0) & (given >= 0)
    symbols = (truth[known] * classes + given[known]) * LEVELS + levels[known]
    counts = torch.bincount(symbols, minlength=classes**2 * LEVELS).view(classes, classes, LEVELS).float() + 1
    return counts / counts.sum(dim=(1, 2), keepdim=True)


def doubt(audited: CaseAudit, probabilities: Tensor) -> Tensor:
    """The probability, to a network, that the given label of a case is wrong: (Z, Y, X), of regions in any of them."""
    folded = audited.groups.probabilities(probabilities), audited.groups.labels(audited.label.classes)
    return any_of([suspicion(*one) for one in zip(*folded, strict=True)])


class Measurement:
    """Collects what the audits of all cases got right.

    Call :meth:`add_` for every noisy case, :meth:`add_right_` for cases whose label is right, then :meth:`summary`.

    Args:
        other: Name of another network to compare with.
    """

    def __init__(self, other: str | None = None) -> None:
        self.other: tuple[str, ...] = () if other is None else (other,)
        # each: all voxels, disputed voxels
        self.detections = {name: (Detection(), Detection()) for name in (*DETECTORS, *self.other)}
        self.cases: list[dict[str, Any]] = []
        self.right: dict[str, float] = {}

    def add_(self, audited: CaseAudit, truth: Tensor, axis: int, other: Tensor | None = None) -> None:
        """Compare one case with its true label (Z, Y, X), negative = unknown; ``other`` (C, Z, Y, X) probabilities."""
        given = audited.label.classes
        known = (given >= 0) & (truth >= 0)
        wrong = (given != truth)[known].numpy()
        disputed = (given != audited.network)[known].numpy()
        plain = doubt(audited, audited.probabilities)
        maps = {"posterior": audited.suspicion, "network": plain, "disagreement": (given != audited.network).float()}
        maps |= {name: doubt(audited, other) for name in self.other if other is not None}
        for name, (everywhere, at_disputes) in self.detections.items():
            score = maps[name][known].numpy()
            everywhere.add_(score, wrong)
            at_disputes.add_(score[disputed], wrong[disputed])
        self.cases.append({**self._case(audited, truth, axis), **self._other_scores(audited, other, axis)})

    def add_right_(self, audited: CaseAudit) -> None:
        """Note what the proposal changes in a label that is right."""
        self.right[audited.case] = audited.groups.mean_dice(audited.proposal, audited.label.classes) - 1

    def _other_scores(self, audited: CaseAudit, other: Tensor | None, axis: int) -> dict[str, float]:
        if other is None:
            return {}
        given, quality, groups = audited.label.classes, 1 - doubt(audited, other), audited.groups
        (name,) = self.other
        return {
            f"score_{name}": label_scores(groups.probabilities(other), groups.labels(given), axis).case,
            f"score_softmin {name}": softmin(quality[given >= 0].numpy()),
            f"score_softmin_slices {name}": softmin_slices(quality, given, axis),
        }

    def _case(self, audited: CaseAudit, truth: Tensor, axis: int) -> dict[str, Any]:
        given, groups, quality = audited.label.classes, audited.groups, 1 - doubt(audited, audited.probabilities)
        e, n, t = groups.probabilities(audited.probabilities), groups.labels(given), groups.labels(truth)
        true = [true_confusion(*each, groups.classes) for each in zip(t, n, audited.levels, strict=True)]
        shared = [factors(*each) for each in zip(e, audited.common, strict=True)]
        believed = (
            [posterior(*each).argmax(dim=0) for each in zip(e, n, audited.levels, m, shared, strict=True)]
            for m in (audited.confusion, true)
        )
        painted = (groups.painted(torch.stack(found)) for found in believed)
        known = dict(zip(KNOWLEDGE, (audited.network, *painted), strict=True))
        one_hot = torch.nn.functional.one_hot(e.argmax(dim=1), groups.classes).movedim(-1, 1).float()
        return {
            "case": audited.case,
            "dice": groups.mean_dice(given, truth),
            "dice_corrected": groups.mean_dice(audited.proposal, truth),
            "corrected": bool((audited.proposal != given).any()),
            **{f"dice_{name}": groups.mean_dice(label, truth) for name, label in known.items()},
            "score_posterior": audited.scores.case,
            "score_network": label_scores(e, n, axis).case,
            "score_disagreement": label_scores(one_hot, n, axis).case,
            "score_softmin": softmin(quality[given >= 0].numpy()),
            "score_softmin_slices": softmin_slices(quality, given, axis),
        }

    def summary(self) -> dict[str, Any]:
        """Plain JSON types: per detector its numbers, and what the corrected labels gain."""
        before, after = (np.array([case[name] for case in self.cases]) for name in ("dice", "dice_corrected"))
        gain = after - before
        others = [label for name in self.other for label in (name, f"softmin {name}", f"softmin_slices {name}")]
        return {
            "cases": self.cases,
            "detectors": {name: self._detector(name) for name in self.detections},
            "rankings": {name: self._ranking(name, before) for name in (*RANKINGS, *others)},
            "knowledge": {name: float(np.mean([case[f"dice_{name}"] for case in self.cases])) for name in KNOWLEDGE},
            "right_labels": {
                "cases": self.right,
                "worst_change": min(self.right.values()) if self.right else None,
            },
            "correction": {
                "mean_dice_before": float(before.mean()),
                "mean_dice_after": float(after.mean()),
                "share_corrected": float(np.mean([case["corrected"] for case in self.cases])),
                "share_improved": float((gain > 0).mean()),
                "worst_change": float(gain.min()),
            },
        }

    def _detector(self, name: str) -> dict[str, float | None]:
        everywhere, at_disputes = self.detections[name]
        return {
            "auroc": everywhere.auroc(),
            "average_precision": everywhere.average_precision(),
            "auroc_disputed": at_disputes.auroc(),
        }

    def _ranking(self, name: str, true_dice: NDArray[np.float64]) -> dict[str, float | None]:
        scores = np.array([case[f"score_{name}"] for case in self.cases])
        return {"spearman": rank_correlation(scores, true_dice), "worst_found": worst_found(scores, true_dice)}
