"""The audit of one label: how suspicious, of which quality, and what would correct it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.audit.bayes import case_confusion, posterior, suspicion, uncertainty, usual_confusion
from nnunetv2_mlbseg.audit.case_scores import LabelScores, label_scores
from nnunetv2_mlbseg.audit.label_files import Label
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.regions import Region, find_regions
from nnunetv2_mlbseg.audit.weight_maps import WeightMaps
from nnunetv2_mlbseg.evaluation.metrics import mean_dice
from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.records import Record
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.weighting.confusion import ConfusionRecord
from nnunetv2_mlbseg.maths.weighting.disputes import DisputeRecord


@dataclass(frozen=True)
class Thresholds:
    """What the user may change.

    Attributes:
        evidence: Least probability of an error at which the proposal replaces the given label.
        smallest_mm3: Regions below this volume are not listed.
    """

    evidence: float = 0.85
    smallest_mm3: float = 10.0


@dataclass(frozen=True)
class Witnesses:
    """What is known about the labels of a fold beside the networks' probabilities.

    Attributes:
        record: How the labels err, as the training remembers it; None where its weighting keeps no record of that.
    """

    record: ConfusionRecord | None

    @classmethod
    def of(cls, record: Record | None) -> Witnesses:
        """From what a weighting remembers."""
        return cls(record.confusion if isinstance(record, DisputeRecord) else None)

    def confusion(self, classes: int) -> Tensor:
        """How the labels of the fold err, (C, C, D): as the training recorded, or as labels usually do."""
        return usual_confusion(classes) if self.record is None else self.record.matrix

    def common(self, classes: int) -> Tensor:
        """What networks and labels have in common, (C,); where there is no record they are taken for independent."""
        return torch.zeros(classes) if self.record is None else self.record.common

    def as_dict(self) -> dict[str, Any] | None:
        """For the JSON file."""
        return None if self.record is None else {"confusion": self.record.matrix.sum(2).tolist()}


@dataclass(frozen=True)
class CaseAudit:
    """Everything about one case; maps are (Z, Y, X) in the label's own geometry.

    Attributes:
        probabilities: (C, Z, Y, X), the network's.
        levels: How deep a voxel lies within its label (see :mod:`label_depth`).
        confusion: (C, C, D), how this label errs.
        common: (C,), what the networks and the labels of the fold have in common.
        network: The network's own label.
        suspicion: Probability that the given label is wrong.
        uncertainty: Entropy of the network, 0 to 1.
        likely: The most probable true class; the given one where that is not judged, -1 where there is no label.
        proposal: The given label, replaced where the evidence is strong.
        change: 1 - the Dice of the given label and that proposal: 0 where nothing changes.
        weights: Of the given label and of the network's in the training; None where its weighting gives no maps.
        p_value: Share of right labels whose correction changes as much; None where that is not known.
    """

    case: str
    label: Label
    probabilities: Tensor
    levels: Tensor
    confusion: Tensor
    common: Tensor
    network: Tensor
    suspicion: Tensor
    uncertainty: Tensor
    likely: Tensor
    proposal: Tensor
    change: float
    scores: LabelScores
    regions: tuple[Region, ...]
    weights: WeightMaps | None = None
    p_value: float | None = None

    def numbers(self, class_names: Mapping[int, str]) -> dict[str, Any]:
        """The row of this case in the JSON file, plain types."""
        given, voxel = self.label.classes, self.label.grid.voxel_mm3
        known = given >= 0
        return {
            "case": self.case,
            "score": self.scores.case,
            "class_scores": {class_names[k + 1]: value for k, value in enumerate(self.scores.classes)},
            "suspected_mm3": float((known & (self.likely != given)).sum() * voxel),
            "expected_error_mm3": float(self.suspicion.sum(dtype=torch.float64) * voxel),
            "labelled_mm3": float((given > 0).sum() * voxel),
            "corrected_mm3": float((self.proposal != given).sum() * voxel),
            "change": self.change,
            "p_value": self.p_value,
            "confusion": self.confusion.sum(2).tolist(),
            "slice_scores": list(self.scores.slices),
            "regions": [_as_row(region, class_names) for region in self.regions],
        }


def _as_row(region: Region, class_names: Mapping[int, str]) -> dict[str, Any]:
    row = {**vars(region), "given": class_names[region.given], "proposed": class_names[region.proposed]}
    return {**row, "centroid_mm": list(region.centroid_mm), "slices": list(region.slices)}


def audit_case(
    case: str,
    opinion: Opinion,
    label: Label,
    witnesses: Witnesses,
    thresholds: Thresholds,
    axis: int,
    levels: Tensor,
    weights: WeightMaps | None = None,
    unshown: Unshown | None = None,
) -> CaseAudit:
    """Hold a given label, with its ``levels`` of depth, against what the networks say; slices count along ``axis``.

    Args:
        unshown: Classes that no clean case shows. Where label or networks say one of them nothing is judged: the
            networks have it from the noisy labels alone.
    """
    given, both = label.classes, opinion.both
    asked = given
    if unshown is not None:
        asked = torch.where(unshown.among(given) | unshown.among(both.argmax(dim=0)), IGNORE, given)
        both = unshown.without(both[None])[0]
    classes = len(both)
    common = witnesses.common(classes)
    confusion = case_confusion(both, asked, levels, witnesses.confusion(classes), common)
    belief = posterior(both, asked, levels, confusion, common)
    doubt, likely = suspicion(belief, asked), torch.where(asked >= 0, belief.argmax(dim=0), given)
    regions = find_regions(
        given.numpy(), likely.numpy(), doubt.numpy(), label.grid, axis=axis, smallest_mm3=thresholds.smallest_mm3
    )
    proposal = torch.where(asked >= 0, proposed_label(belief, asked, thresholds.evidence), given)
    return CaseAudit(
        case=case,
        label=label,
        probabilities=opinion.network,
        levels=levels,
        confusion=confusion,
        common=common,
        network=opinion.network.argmax(dim=0),
        suspicion=doubt,
        uncertainty=uncertainty(opinion.network),
        likely=likely,
        proposal=proposal,
        change=1 - mean_dice(proposal.numpy(), given.numpy(), len(opinion.network)),
        scores=label_scores(belief, asked, axis),
        regions=tuple(regions),
        weights=weights,
    )


def proposed_label(belief: Tensor, given: Tensor, evidence: float) -> Tensor:
    """The corrected label: the most probable class where the given one is wrong with at least that probability.

    Args:
        belief: (C, *S), probabilities of the true class.
        given: (*S) int64, negative = no label; stays as it is.
        evidence: 0 to 1. Where the given class is the most probable one all the same, it stays.
    """
    own = belief.gather(0, given.clamp_min(0).unsqueeze(0)).squeeze(0)
    replace = (given >= 0) & (1 - own >= evidence) & (belief.argmax(dim=0) != given)
    return torch.where(replace, belief.argmax(dim=0), given)
