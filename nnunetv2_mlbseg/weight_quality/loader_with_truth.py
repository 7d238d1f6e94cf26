"""Training batches whose imperfect images have their true labels with them. For studies only."""

from __future__ import annotations

from collections.abc import Callable

from nnunetv2_mlbseg.cases.further_labels import FurtherLabels
from nnunetv2_mlbseg.cases.label_kinds import LabelsOfKinds
from nnunetv2_mlbseg.cases.loaders import PairedLoader
from nnunetv2_mlbseg.training.restored import TrainedFold
from noise_synthesis.safe_io.errors import InputError


def loader_with_truth(fold: TrainedFold, role: str, report: Callable[[str], None] = print) -> PairedLoader:
    """Clean batches and imperfect ones of the sizes the training had, in this process.

    The truth is one more kind of label beside those of the training (see `cases/label_kinds`): the last one.

    Raises:
        InputError: the fold has no case of the role, or one without a true label.
    """
    cases = getattr(fold.roles, role)
    if not cases:
        raise InputError(f"{fold.plans.dataset_name}: fold {fold.fold} has no {role} training case")
    imperfect, store = fold.roles.imperfect, fold.true_labels
    truth = FurtherLabels.of_dataset(imperfect, fold.plans, fold.configuration, fold.dataset_json)
    truth.prepare(fold.dataset(imperfect), store, report)
    return fold.paired_loader(LabelsOfKinds(fold.imperfect_dataset(cases), [(cases, store)]), 2 + len(fold.further))
