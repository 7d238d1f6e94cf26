"""The audits of a fold's cases, one after the other, and what they leave in a folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.audit.common_knowledge import CommonKnowledge
from nnunetv2_mlbseg.audit.images import Images
from nnunetv2_mlbseg.audit.label_files import Label, LabelFolder
from nnunetv2_mlbseg.audit.label_groups import LabelGroups, class_names
from nnunetv2_mlbseg.audit.maps import write_maps, write_proposal
from nnunetv2_mlbseg.audit.network_opinion import NetworkOpinion
from nnunetv2_mlbseg.audit.one_case import CaseAudit, Thresholds, audit_case, judged_part
from nnunetv2_mlbseg.audit.other_labels import OtherLabel, labels_there
from nnunetv2_mlbseg.audit.report import bytes_per_case
from nnunetv2_mlbseg.audit.request import Progress
from nnunetv2_mlbseg.audit.sources import CaseErrors, source_table
from nnunetv2_mlbseg.audit.tables import ranked
from nnunetv2_mlbseg.audit.thumbnails import Thumbnails, thumbnails
from nnunetv2_mlbseg.audit.truth import Truth
from nnunetv2_mlbseg.audit.weight_maps import weighs
from nnunetv2_mlbseg.audit.witnesses import Witnesses
from nnunetv2_mlbseg.maths.unshown import Unshown
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels, is_flat
from nnunetv2_mlbseg.training.method import LabelWeighing
from nnunetv2_mlbseg.training.restored import TrainedFold
from noise_synthesis.safe_io.structures import Structures

Judge = Callable[[CaseAudit], CaseAudit]
Written = tuple[list[dict[str, Any]], dict[str, Thumbnails], list[dict[str, Any]]]

MOST_LOOKS = 50
"""Cases that tell what networks and labels have in common; of more noisy cases so many are looked at."""


@dataclass(frozen=True)
class Audits:
    """What the audits of a fold's cases have in common.

    Attributes:
        others: Where the further labels lie, kind by kind.
        progress: Passes the names of the cases on as they are worked on.
    """

    fold: TrainedFold
    labels: LabelFolder
    others: Sequence[LabelFolder]
    images: Images
    thresholds: Thresholds
    progress: Progress

    @cached_property
    def class_names(self) -> dict[int, str]:
        """Names by label value."""
        return class_names(self.groups.structures)

    @cached_property
    def groups(self) -> LabelGroups:
        """Of the classes or regions that dataset.json names."""
        return LabelGroups(Structures.of(self.fold.dataset_json))

    @cached_property
    def weighing(self) -> LabelWeighing:
        """That of the training, on the CPU."""
        found = self.fold.weighing
        return replace(found, record=None if found.record is None else found.record.to(torch.device("cpu")))

    @cached_property
    def witnesses(self) -> Witnesses:
        """What the training learned about the labels."""
        return Witnesses.of(self.weighing.record)

    @cached_property
    def unshown(self) -> Unshown | None:
        """Classes or regions that no clean case shows."""
        regions = self.groups.structures.regions
        return Unshown.of(self.fold.only_noisy, regions or self.groups.classes, regions=regions > 0)

    @cached_property
    def common(self) -> list[Tensor]:
        """What the networks have in common with the labels under audit, and with every kind of further labels."""
        noisy, groups = self.fold.roles.noisy, self.groups
        cases = noisy[:: math.ceil(len(noisy) / MOST_LOOKS) or 1]
        found = CommonKnowledge(len(cases), 1 + len(self.others), groups.count, groups.classes)
        with NetworkOpinion.of(self.fold) as opinion:
            for case in self.progress(cases):
                networks = opinion.of_case(case).both
                label = self.labels.read(case, networks.shape[1:])
                own = OtherLabel(0, groups.labels(label.classes), self.levels(label), self._known(case))
                for one in (own, *self._further(case, networks.shape[1:])):
                    given, both = judged_part(groups, one.given, networks, self.unshown)
                    found.add_(one.kind, both, given, one.levels, one.witnesses.confusion(groups))
        return found.tables()

    @property
    def not_judged(self) -> tuple[str, ...]:
        """The names of the classes or regions that no clean case shows."""
        first = 0 if self.groups.structures.regions else 1
        return tuple(list(self.groups.structures.values)[number - first] for number in self.fold.only_noisy)

    def levels(self, label: Label) -> Tensor:
        """How deep voxels lie within a label, (G, Z, Y, X), 0 where the training does not tell depths apart.

        Counted in voxels of the preprocessed images, slice by slice where the training's patches are flat.
        """
        given = self.groups.labels(label.classes)
        if not self.weighing.by_depth:
            return torch.zeros_like(given)
        order = self.fold.plans.transpose_forward
        patch, spacing_mm = self.fold.configuration.patch_size, self.fold.configuration.spacing
        own_mm = [label.reading.spacing_mm[axis] for axis in order][-len(patch) :]
        sides = [own / trained for own, trained in zip(own_mm, spacing_mm, strict=True)]
        volumes = given.permute(0, *(axis + 1 for axis in order))
        batch = volumes.flatten(0, 1) if len(patch) == 2 else volumes  # in 2D every slice is an image
        levels = depth_levels(batch, is_flat(patch), sides).reshape(volumes.shape)
        return levels.permute(0, *(axis + 1 for axis in self.fold.plans.transpose_backward))

    def further(self, case: str, shape: Sequence[int]) -> Iterator[OtherLabel]:
        """The further labels of a case, of an image of that shape."""
        for one in self._further(case, shape):
            yield replace(one, witnesses=replace(one.witnesses, shared=self.common[one.kind]))

    def _further(self, case: str, shape: Sequence[int]) -> Iterator[OtherLabel]:
        for kind, folder in labels_there(self.others, case):
            label = folder.read(case, shape)
            source = self.witnesses.of_case(kind * len(self.fold.roles.noisy))  # the same for all cases of the kind
            yield OtherLabel(kind, self.groups.labels(label.classes), self.levels(label), source)

    def _known(self, case: str) -> Witnesses:
        """What is known of labels like that of the case, but for what they have in common with the networks."""
        return self.witnesses.of_case(self.fold.roles.number(case))

    def of(self, cases: Sequence[str], *, weighed: bool = True) -> Iterator[CaseAudit]:
        """Audit one case after the other, with the weight maps of the training or without."""
        maps = weighs(self.fold, self.weighing) if weighed else nullcontext(None)
        groups, (common, *_) = self.groups, self.common
        with maps as weigh, NetworkOpinion.of(self.fold) as opinion:
            for case in self.progress(cases):
                found = opinion.of_case(case)
                label = self.labels.read(case, found.network.shape[1:])
                levels = self.levels(label)
                folded = groups.probabilities(found.network), groups.labels(label.classes)
                others = tuple(self.further(case, found.network.shape[1:]))
                weights = None if weigh is None else weigh(case, *folded, levels, others)
                known, axis = replace(self._known(case), shared=common), self.fold.slice_axis
                settings = known, self.thresholds, axis
                yield audit_case(case, found, label, *settings, levels, weights, self.unshown, groups, others)

    def write(self, out: Path, corrected: Path | None, truth: Truth | None, judged: Judge) -> Written:
        """Audit the noisy cases into folders that exist.

        Args:
            out: For the maps.
            corrected: For the corrected labels; None: none are written.
            truth: Compares each audit with the truth.
            judged: Says of each audit whether its correction stands.

        Returns:
            The rows of the cases, worst first; their pictures for the report; and the rows of their sources.
        """
        noisy, of_sources = self.fold.roles.noisy, dict[str, list[CaseErrors]]()
        rows, pictures, allowed = [], {}, bytes_per_case(len(noisy))
        volumes = len(self.fold.configuration.patch_size) == 3
        for audited in map(judged, self.of(noisy)):
            write_maps(audited, out, self.labels.format)
            if corrected is not None:
                write_proposal(audited, corrected, self.labels.format)
            if truth is not None:
                truth.add_(audited)
            source = self.fold.roles.source(audited.case)
            heard = [list(self.fold.further)[kind - 1] for kind, _ in labels_there(self.others, audited.case)]
            rows.append({**audited.numbers(self.class_names), "source": source, "further_labels": heard})
            if source is not None:
                of_sources.setdefault(source, []).append(audited.errors(self.fold.slice_axis))
            image = self.images.read(audited)
            pictures[audited.case] = thumbnails(audited, image, self.fold.slice_axis, allowed, volumes)
        return ranked(rows), pictures, source_table(of_sources)
