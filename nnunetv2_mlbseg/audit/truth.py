"""The audits of a fold held against its true labels, and beside them another training's network. For studies only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dataset_conversion.raw.cases import TRUE_LABELS
from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.audit.label_files import LabelFolder, labels_of
from nnunetv2_mlbseg.audit.network_opinion import NetworkOpinion
from nnunetv2_mlbseg.audit.one_case import CaseAudit
from nnunetv2_mlbseg.audit.trained_fold import TrainedFold
from nnunetv2_mlbseg.audit.truth_scores import Measurement
from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.cases.training_cases import training_cases
from nnunetv2_mlbseg.weight_quality.measure import restored_trainer
from noise_synthesis.safe_io.errors import InputError

if TYPE_CHECKING:
    from nnunetv2_mlbseg.training.trainer import nnUNetTrainerMLBSeg


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

    def summary(self, right: Iterable[CaseAudit]) -> dict[str, Any]:
        """What the audits got right, and what they would change in the labels of clean cases, which are right."""
        for audited in right:
            self.measurement.add_right_(audited)
        return self.measurement.summary()


@contextmanager
def measuring(
    trainer: nnUNetTrainerMLBSeg,
    raw: Path,
    other: tuple[TrainedFold, dict[str, Any]] | None,
    device: torch.device,
) -> Iterator[Truth]:
    """Find the true labels of a fold's noisy cases and, where one is asked for, restore the other training.

    Args:
        other: The other training and its checkpoint.

    Raises:
        InputError: a noisy case has no true label or a clean one no label; or what :func:`check_unseen` refuses.
    """
    labels = labels_of(trainer, raw, TRUE_LABELS)
    labels.check(trainer.roles.noisy, "noisy training")
    labels_of(trainer, raw, "labelsTr").check(trainer.roles.clean, "clean training")
    axis = trainer.plans_manager.transpose_forward[0]
    if other is None:
        yield Truth(labels, axis, None, None)
        return
    fold, found = other
    check_unseen(found, trainer, fold.path)
    with (
        restored_trainer(found, fold.folder, device, needs_weights=False, roles_of_then=True) as compared,
        NetworkOpinion.of(compared) as opinion,
    ):
        yield Truth(labels, axis, opinion, fold.trainer)


def check_unseen(found: dict[str, Any], trainer: nnUNetTrainerMLBSeg, path: Path) -> None:
    """Refuse to compare with a network whose probabilities are not out of sample, or are of other classes.

    Which roles the other training's dataset gave to its cases does not matter otherwise.

    Args:
        found: The checkpoint of the other training, ``path``.
        trainer: The training under audit.

    Raises:
        InputError: the other training trained on a noisy case of this one, or for other labels.
    """
    then = found["mlbseg"]
    trained_on = training_cases(FoldRoles.from_dict(then["roles"]), then["config"]["training_labels"])
    seen = sorted(set(trained_on) & set(trainer.roles.noisy))
    if seen:
        raise InputError(
            f"{path}: trained on {len(seen)} of the {len(trainer.roles.noisy)} audited cases ({name_some(seen)}), "
            f"expected a training on other cases, such as nnUNetTrainerMLBSegCleanOnly"
        )
    theirs, ours = (class_values(one["labels"]) for one in (found["init_args"]["dataset_json"], trainer.dataset_json))
    if theirs != ours:
        raise InputError(f"{path}: trained for the labels {theirs}, expected {ours}")


def class_values(labels: Mapping[str, Any]) -> dict[str, Any]:
    """The classes of a dataset.json: its labels without the ignore label."""
    return {name: value for name, value in labels.items() if name != "ignore"}
