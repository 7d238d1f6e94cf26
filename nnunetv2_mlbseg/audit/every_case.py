"""The audits of a fold's cases, one after the other, and what they leave in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nnunetv2_mlbseg.audit.images import Images
from nnunetv2_mlbseg.audit.label_files import LabelFolder
from nnunetv2_mlbseg.audit.maps import write_maps, write_proposal
from nnunetv2_mlbseg.audit.network_opinion import NetworkOpinion
from nnunetv2_mlbseg.audit.one_case import CaseAudit, Settings, Witnesses, audit_case
from nnunetv2_mlbseg.audit.report import bytes_per_case
from nnunetv2_mlbseg.audit.tables import ranked
from nnunetv2_mlbseg.audit.thumbnails import Thumbnails, thumbnails
from nnunetv2_mlbseg.audit.truth import Truth, class_values
from nnunetv2_mlbseg.audit.weight_maps import weighing
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels, is_flat

if TYPE_CHECKING:
    from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg

Progress = Callable[[Sequence[str]], Iterable[str]]
Judge = Callable[[CaseAudit], CaseAudit]


@dataclass(frozen=True)
class Audits:
    """What the audits of a fold's cases have in common.

    Attributes:
        trainer: Restored from the checkpoint under audit.
        progress: Passes the names of the cases on as they are worked on.
    """

    trainer: nnUNetTrainerMLBSeg
    labels: LabelFolder
    images: Images
    settings: Settings
    progress: Progress

    @property
    def axis(self) -> int:
        """Which of Z, Y, X counts the slices."""
        return self.trainer.plans_manager.transpose_forward[0]

    @property
    def class_names(self) -> dict[int, str]:
        """Names by value, as in dataset.json."""
        names = {int(value): name for name, value in class_values(self.trainer.dataset_json["labels"]).items()}
        return dict(sorted(names.items()))

    @property
    def witnesses(self) -> Witnesses:
        """What the training learned about the labels."""
        record = self.trainer.bootstrap_step.disputes
        if record is None:
            return Witnesses(None)
        return Witnesses(record.from_state({name: table.cpu() for name, table in record.state().items()}))

    def levels(self, given: Tensor) -> Tensor:
        """How deep voxels lie within a label (Z, Y, X), 0 where the training does not tell depths apart.

        Counted in voxels of the label file, slice by slice where the training's patches are flat.
        """
        if not self.trainer.config.confusion_by_depth:
            return torch.zeros_like(given)
        patch = self.trainer.configuration_manager.patch_size
        slices = given.movedim(self.axis, 0)
        by_slice = len(patch) == 2 or is_flat(patch)
        return (depth_levels(slices) if by_slice else depth_levels(slices[None])[0]).movedim(0, self.axis)

    def of(self, cases: Sequence[str], *, weighed: bool = True) -> Iterator[CaseAudit]:
        """Audit one case after the other, with the weight maps of the training or without."""
        witnesses = self.witnesses
        weighs = weighing(self.trainer, witnesses.record) if weighed else nullcontext(None)
        with weighs as weigh, NetworkOpinion.of(self.trainer) as opinion:
            for case in self.progress(cases):
                found = opinion.of_case(case)
                label = self.labels.read(case, found.network.shape[1:])
                levels = self.levels(label.classes)
                weights = None if weigh is None else weigh(case, found.network, label.classes, levels)
                yield audit_case(case, found, label, witnesses, self.settings, self.axis, levels, weights)

    def write(
        self, out: Path, corrected: Path | None, truth: Truth | None, judged: Judge
    ) -> tuple[list[dict[str, Any]], dict[str, Thumbnails]]:
        """Audit the noisy cases into folders that exist.

        Args:
            out: For the maps.
            corrected: For the corrected labels; None: none are written.
            truth: Compares each audit with the truth.
            judged: Says of each audit whether its correction stands.

        Returns:
            The rows of the cases, worst first, and their pictures for the report.
        """
        noisy = self.trainer.roles.noisy
        rows, pictures, allowed = [], {}, bytes_per_case(len(noisy))
        for audited in map(judged, self.of(noisy)):
            write_maps(audited, out, self.labels.ending)
            if corrected is not None:
                write_proposal(audited, corrected, self.labels.ending)
            if truth is not None:
                truth.add_(audited)
            rows.append(audited.numbers(self.class_names))
            pictures[audited.case] = thumbnails(audited, self.images.read(audited), self.axis, allowed)
        return ranked(rows), pictures
