"""The audits of a fold held against its true labels, and beside them another training's network. For studies only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dataset_conversion.cases import TRUE_LABELS
from nnunetv2_mlbseg.audit.case_audit import CaseAudit
from nnunetv2_mlbseg.audit.given_labels import LabelFolder, labels_of
from nnunetv2_mlbseg.audit.measurement import Measurement
from nnunetv2_mlbseg.audit.opinion import NetworkOpinion
from nnunetv2_mlbseg.weight_measurement import restored_trainer

if TYPE_CHECKING:
    from nnunetv2_mlbseg.trainer import nnUNetTrainerMLBSeg


class Truth:
    """What the true labels say of the audits, one after the other.

    Args:
        labels: The true labels of the noisy cases.
        axis: Which axis counts the slices.
        other: Another network to judge by the same measures.
    """

    def __init__(self, labels: LabelFolder, axis: int, other: NetworkOpinion | None, name: str | None):
        self.labels, self.axis, self.other = labels, axis, other
        self.measurement = Measurement(other=name)

    def add_(self, audited: CaseAudit) -> None:
        """Compare the audit of a noisy case."""
        true = self.labels.read(audited.case, audited.label.classes.shape).classes
        other = None if self.other is None else self.other.network(audited.case)
        self.measurement.add_(audited, true, self.axis, other)


@contextmanager
def measuring(
    trainer: nnUNetTrainerMLBSeg,
    raw: Path,
    other: tuple[str, Path, dict[str, Any]] | None,
    device: torch.device,
) -> Iterator[Truth]:
    """Find the true labels of a fold's noisy cases and, where one is asked for, restore the other training.

    Args:
        other: Name, fold folder and checkpoint of the other training.

    Raises:
        InputError: a noisy case has no true label or a clean one no label.
    """
    labels = labels_of(trainer, raw, TRUE_LABELS)
    labels.check(trainer.roles.noisy, "noisy")
    labels_of(trainer, raw, "labelsTr").check(trainer.roles.clean, "clean")
    axis = trainer.plans_manager.transpose_forward[0]
    if other is None:
        yield Truth(labels, axis, None, None)
        return
    name, folder, found = other
    with (
        restored_trainer(found, folder, device, needs_weights=False) as compared,
        NetworkOpinion.of(compared) as opinion,
    ):
        yield Truth(labels, axis, opinion, name)
