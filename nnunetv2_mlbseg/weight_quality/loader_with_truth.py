"""Training batches whose imperfect images have their true labels with them. For studies only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import SegOnlyTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from torch import Tensor

from nnunetv2_mlbseg.cases.datasets import DatasetView
from nnunetv2_mlbseg.cases.further_labels import FurtherLabels
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.cases.loaders import PairedLoader
from nnunetv2_mlbseg.maths.label_space import LabelSpace
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
    cases, space = getattr(fold.roles, role), fold.method.passes.space
    if not cases:
        raise InputError(f"{fold.plans.dataset_name}: fold {fold.fold} has no {role} training case")
    imperfect, store = fold.roles.imperfect, fold.true_labels
    truth = FurtherLabels.of_dataset(imperfect, fold.plans, fold.configuration, fold.dataset_json)
    truth.prepare(fold.dataset(imperfect), store, report)
    loader = fold.paired_loader(WithTruth(fold.imperfect_dataset(cases), store))
    if space.regions:
        loader.imperfect.transforms = with_regions_of_both(loader.imperfect.transforms)
    return loader


class RegionsOfBoth(SegOnlyTransform):
    """The regions of the imperfect label, then those of the true one; nnU-Net's own drops all channels but one."""

    def __init__(self, own: ConvertSegmentationToRegionsTransform):
        super().__init__()
        self.kinds = [copy(own), copy(own)]
        for channel, kind in enumerate(self.kinds):
            kind.channel_in_seg = channel

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        return torch.cat([kind._apply_to_segmentation(segmentation, **params) for kind in self.kinds])


def with_regions_of_both(transforms: ComposeTransforms) -> ComposeTransforms:
    """nnU-Net's augmentation for labels of two kinds; the clean cases keep theirs."""
    own = ConvertSegmentationToRegionsTransform
    return ComposeTransforms([RegionsOfBoth(one) if isinstance(one, own) else one for one in transforms.transforms])


def true_labels_of(batch: Mapping[str, Any], space: LabelSpace, ignore_label: int | None) -> Tensor:
    """The true labels of the imperfect images in a batch of :func:`loader_with_truth`: ``(B, *S)``, negative = none."""
    return space.labels(batch["imperfect_target"], ignore_label, kind=1)
