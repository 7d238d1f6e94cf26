"""The audit of one label: how suspicious, of which quality, and what would correct it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.audit.bayes import case_confusion, posterior, suspicion, uncertainty
from nnunetv2_mlbseg.audit.case_scores import LabelScores, expected_gain, label_scores
from nnunetv2_mlbseg.audit.common_knowledge import factors
from nnunetv2_mlbseg.audit.group_regions import regions_of_groups
from nnunetv2_mlbseg.audit.label_files import Label
from nnunetv2_mlbseg.audit.label_groups import LabelGroups, any_of
from nnunetv2_mlbseg.audit.network_opinion import Opinion
from nnunetv2_mlbseg.audit.other_labels import OtherLabel, heard
from nnunetv2_mlbseg.audit.regions import Region
from nnunetv2_mlbseg.audit.sources import CaseErrors, case_errors
from nnunetv2_mlbseg.audit.weight_maps import WeightMaps
from nnunetv2_mlbseg.audit.witnesses import Witnesses
from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.unshown import Unshown


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
class CaseAudit:
    """Everything about one case; maps are (Z, Y, X) in the label's own geometry.

    Attributes:
        groups: Of its classes or regions.
        probabilities: (C, Z, Y, X), the network's; of regions (R, Z, Y, X).
        levels: (G, Z, Y, X), how deep a voxel lies within its label (see `maths/weighting/depth`).
        confusion: (G, C, C, D), how this label errs.
        common: (G, C, C), what the networks and the labels of the fold have in common.
        network: The network's own label.
        suspicion: Probability that the given label is wrong; of regions that it is wrong in any of them.
        uncertainty: Entropy of the network, 0 to 1; of regions the mean.
        likely: The most probable true class; the given one where that is not judged, -1 where there is no label.
        proposal: The given label, replaced where the evidence is strong, each region by its own.
        change: 1 - the Dice of the given label and that proposal: 0 where nothing changes.
        expected_gain: What that proposal is expected to gain in Dice (see :func:`expected_gain`).
        weights: Of the given label and of the network's in the training; None where its weighting gives no maps.
        p_value: Share of right labels whose correction changes as much; None where that is not known.
    """

    case: str
    label: Label
    groups: LabelGroups
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
    expected_gain: float
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
            "class_scores": dict(zip(self.groups.structures.values, self.scores.classes, strict=True)),
            "suspected_mm3": float((known & (self.likely != given)).sum() * voxel),
            "expected_error_mm3": float(self.suspicion.sum(dtype=torch.float64) * voxel),
            "labelled_mm3": float((given > 0).sum() * voxel),
            "corrected_mm3": float((self.proposal != given).sum() * voxel),
            "change": self.change,
            "expected_gain": self.expected_gain,
            "p_value": self.p_value,
            "confusion": self.groups.plain(self.confusion.sum(3)),
            "slice_scores": list(self.scores.slices),
            "regions": [_as_row(region, class_names) for region in self.regions],
        }

    def errors(self, axis: int) -> CaseErrors:
        """How the given label errs beside the likely one; slices count along ``axis``."""
        structures = self.groups.structures
        return case_errors(
            self.label.classes.numpy(),
            self.likely.numpy(),
            structures.values,
            spacing_mm=self.label.grid.spacing_mm[::-1],
            axis=axis,
            score=self.scores.case,
            exclusive=not structures.regions,
        )


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
    groups: LabelGroups | None = None,
    others: Sequence[OtherLabel] = (),
) -> CaseAudit:
    """Hold a given label, with its ``levels`` of depth, against what the networks say; slices count along ``axis``.

    Args:
        levels: (G, Z, Y, X).
        groups: None: of exclusive classes.
        unshown: Classes that no clean case shows. Where label or networks say one of them nothing is judged: the
            networks have it from the noisy labels alone.
        others: Further labels of the case.
    """
    groups = groups or LabelGroups.of_classes(len(opinion.network))
    given, network = label.classes, groups.probabilities(opinion.network)
    judged = judge(groups, opinion, given, witnesses, levels, unshown, others)
    doubt, likely = any_of(judged.suspicion), groups.painted(judged.likely, given)
    places = (groups, judged.given, judged.likely, judged.suspicion)
    proposal = groups.painted(judged.proposed(thresholds.evidence), given)
    return CaseAudit(
        case=case,
        label=label,
        groups=groups,
        probabilities=opinion.network,
        levels=levels,
        confusion=judged.confusion,
        common=judged.common,
        network=groups.painted(network.argmax(dim=1)),
        suspicion=doubt,
        uncertainty=torch.stack(list(map(uncertainty, network))).mean(dim=0),
        likely=likely,
        proposal=proposal,
        change=1 - groups.mean_dice(proposal, given),
        expected_gain=expected_gain(judged.belief, judged.asked, groups.labels(proposal)),
        scores=label_scores(judged.belief, judged.asked, axis),
        regions=regions_of_groups(*places, label.grid, axis, thresholds.smallest_mm3),
        weights=weights,
    )


@dataclass(frozen=True)
class Judgement:
    """What is believed of every group of a label, (G, ...) each.

    Attributes:
        given: (G, *S) int64, the label's own classes.
        asked: The same where it is judged, negative elsewhere.
        belief: (G, C, *S), probabilities of the true class.
        confusion, common: See :class:`CaseAudit`.
    """

    given: Tensor
    asked: Tensor
    belief: Tensor
    confusion: Tensor
    common: Tensor

    @property
    def suspicion(self) -> Tensor:
        """(G, *S), the probability that the label is wrong."""
        return torch.stack(list(map(suspicion, self.belief, self.asked)))

    @property
    def likely(self) -> Tensor:
        """(G, *S), the most probable classes; the given ones where nothing is judged."""
        return torch.where(self.asked >= 0, self.belief.argmax(dim=1), self.given)

    def proposed(self, evidence: float) -> Tensor:
        """(G, *S), the given classes, replaced where the evidence is strong."""
        found = [proposed_label(*one, evidence) for one in zip(self.belief, self.asked, strict=True)]
        return torch.where(self.asked >= 0, torch.stack(found), self.given)


def judge(
    groups: LabelGroups,
    opinion: Opinion,
    label: Tensor,
    witnesses: Witnesses,
    levels: Tensor,
    unshown: Unshown | None = None,
    others: Sequence[OtherLabel] = (),
) -> Judgement:
    """Weigh a label map (Z, Y, X) against the networks and further labels of the case, every group by itself."""
    given = groups.labels(label)
    asked, both = judged_part(groups, given, opinion.both, unshown)
    together = heard(both, others, groups, unshown)
    confusion, common = [], witnesses.common(groups)
    belief = []
    priors = witnesses.confusion(groups)
    for e, known, n, d, prior, shared in zip(both, together, asked, levels, priors, common, strict=True):
        beside = factors(e, shared)
        confusion.append(case_confusion(known, n, d, prior, beside))
        belief.append(posterior(known, n, d, confusion[-1], beside))
    return Judgement(given, asked, torch.stack(belief), torch.stack(confusion), common)


def judged_part(groups: LabelGroups, given: Tensor, networks: Tensor, unshown: Unshown | None) -> tuple[Tensor, Tensor]:
    """What is judged of a label (G, *S), the rest negative; and the networks' probabilities as (G, C, *S)."""
    both = groups.probabilities(networks)
    if unshown is None:
        return given, both
    asked = torch.where(unshown.among(given) | unshown.among(both.argmax(dim=1)), IGNORE, given)
    return asked, unshown.without(both)


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
