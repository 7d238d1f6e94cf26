"""Training batches whose imperfect images have their true labels with them. For studies only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from torch import Tensor

from nnunetv2_mlbseg.cases.datasets import DatasetView
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.cases.loaders import PairedLoader
from nnunetv2_mlbseg.cases.true_labels import TrueLabels
from nnunetv2_mlbseg.maths.labels import as_labels
from nnunetv2_mlbseg.training.restored import TrainedFold
from noise_synthesis.safe_io.errors import InputError


class WithTruth(DatasetView):
    """Imperfect cases with their true label where nnU-Net's cascade has the label of its previous stage.

    So the loader crops and augments both alike, and the target has a second channel.
    """

    def __init__(self, base: nnUNetBaseDataset, truth: LabelStore):
        super().__init__(base)
        self.truth = truth

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict]:
        """Image ``(C, Z, Y, X)``, imperfect label ``(1, Z, Y, X)``, true label ``(Z, Y, X)``, properties."""
        data, seg, _, properties = self.base.load_case(identifier)
        return data, seg, np.asarray(self.truth.load(identifier)[0][:])[0], properties


def loader_with_truth(fold: TrainedFold, role: str, report: Callable[[str], None] = print) -> PairedLoader:
    """Clean batches and imperfect ones with their truth, of the sizes the training had, in this process.

    Raises:
        InputError: the fold has no case of the role, or one without a true label.
    """
    cases = getattr(fold.roles, role)
    if not cases:
        raise InputError(f"{fold.plans.dataset_name}: fold {fold.fold} has no {role} training case")
    imperfect, store = fold.roles.imperfect, fold.true_labels
    truth = TrueLabels.of_dataset(imperfect, fold.plans, fold.configuration, fold.dataset_json)
    truth.prepare(fold.dataset(imperfect), store, report)
    return fold.paired_loader(WithTruth(fold.imperfect_dataset(cases), store))


def true_labels_of(batch: Mapping[str, Any], ignore_label: int | None) -> Tensor:
    """The true labels of the imperfect images in a batch of :func:`loader_with_truth`: ``(B, *S)``, negative = none."""
    return as_labels(batch["imperfect_target"], ignore_label, channel=1)
