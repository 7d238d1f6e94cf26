"""The audits of a fold held against its true labels, and beside them another training's network. For studies only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataset_conversion.raw.cases import TRUE_LABELS
from dataset_conversion.supervision.files import name_some
from nnunetv2_mlbseg.audit.fold_place import FoldPlace
from nnunetv2_mlbseg.audit.label_files import LabelFolder, class_values, labels_of
from nnunetv2_mlbseg.audit.network_opinion import NetworkOpinion
from nnunetv2_mlbseg.audit.one_case import CaseAudit
from nnunetv2_mlbseg.audit.truth_scores import Measurement
from nnunetv2_mlbseg.training.restored import TrainedFold, restored
from noise_synthesis.safe_io.errors import InputError


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
    fold: TrainedFold, given: LabelFolder, raw: Path, other: tuple[FoldPlace, dict[str, Any]] | None
) -> Iterator[Truth]:
    """Find the true labels of a fold's noisy cases and, where one is asked for, restore the other training.

    Args:
        given: The labels of the dataset; those of clean cases are right.
        other: The other training and its checkpoint.

    Raises:
        InputError: a noisy case has no true label or a clean one no label; or what :func:`check_unseen` refuses.
    """
    labels = labels_of(fold, raw, TRUE_LABELS)
    labels.check(fold.roles.noisy, "noisy training")
    given.check(fold.roles.clean, "clean training")
    if other is None:
        yield Truth(labels, fold.slice_axis, None, None)
        return
    place, found = other
    with restored(found, place.folder, fold.device, roles_of_then=True) as compared:
        check_unseen(compared, fold, place.path)
        with NetworkOpinion.of(compared) as opinion:
            yield Truth(labels, fold.slice_axis, opinion, place.trainer)


def check_unseen(compared: TrainedFold, fold: TrainedFold, path: Path) -> None:
    """Refuse to compare with a network whose probabilities are not out of sample, or are of other classes.

    Which roles the other training's dataset gave to its cases does not matter otherwise.

    Args:
        compared: The other training, with the roles of its dataset, and its checkpoint ``path``.
        fold: The training under audit.

    Raises:
        InputError: the other training trained on a noisy case of this one, or for other labels.
    """
    roles = compared.method.roles(compared.settings)
    trained_on = {case for role in roles for case in getattr(compared.roles, role)}
    seen = sorted(trained_on.intersection(fold.roles.noisy))
    if seen:
        raise InputError(
            f"{path}: trained on {len(seen)} of the {len(fold.roles.noisy)} audited cases ({name_some(seen)}), "
            f"expected a training on other cases, such as nnUNetTrainerMLBSegCleanOnly"
        )
    theirs, ours = (class_values(one.dataset_json["labels"]) for one in (compared, fold))
    if theirs != ours:
        raise InputError(f"{path}: trained for the labels {theirs}, expected {ours}")
