"""Labels of several kinds beside each other: cropped and augmented alike, they are further channels of the target.

The first kind is what nnU-Net preprocessed. A case may lack one of the others: its channels are covered up after the
augmentation, which would take what it finds there for background.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import SegOnlyTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from torch import Tensor

from nnunetv2_mlbseg.cases.datasets import DatasetView, load_fitting
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.maths.labels import IGNORE

Target = Tensor | list[Tensor]


class Layers:
    """Labels ``(K_i, Z, Y, X)`` on top of each other; of each is read what is asked for, such as a patch."""

    def __init__(self, layers: Sequence[Any]):
        self.layers = layers

    @property
    def shape(self) -> tuple[int, ...]:
        """``(K, Z, Y, X)``."""
        first, *others = (layer.shape for layer in self.layers)
        return (first[0] + sum(shape[0] for shape in others), *first[1:])

    def __getitem__(self, part: Any) -> np.ndarray:
        """A part that has all layers."""
        return np.concatenate([np.asarray(layer[part]) for layer in self.layers])


class LabelsOfKinds(DatasetView):
    """Cases with labels of further kinds; a case that lacks one has the first in its place.

    Args:
        base: nnU-Net's dataset over all cases.
        further: For each kind the cases that have one, and where the labels lie.
    """

    def __init__(self, base: nnUNetBaseDataset, further: Sequence[tuple[Collection[str], LabelStore]]):
        super().__init__(base)
        self.further = [(frozenset(cases), store) for cases, store in further]

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict]:
        """Image ``(C, Z, Y, X)``, labels ``(K, Z, Y, X)``, None, properties."""
        data, seg, previous, properties = self.base.load_case(identifier)
        further = [
            load_fitting(store, identifier, data.shape[1:])[0] if identifier in cases else seg
            for cases, store in self.further
        ]
        return data, Layers([seg, *further]), previous, properties


def with_further(
    base: nnUNetBaseDataset, further: Mapping[str, Collection[str]], store: Callable[[str], LabelStore]
) -> nnUNetBaseDataset:
    """The dataset with further labels of some cases, by their source; ``store``: where those of a source lie."""
    return LabelsOfKinds(base, [(cases, store(source)) for source, cases in further.items()]) if further else base


class Cover:
    """Covers up what nnU-Net's augmentation made of labels that a case does not have, or that nobody may read.

    Args:
        without: For each kind of label the cases without.
        channels: How many channels of a target a kind has.
        ignore_label: nnU-Net's, which then stands there; None: -1 does.
    """

    def __init__(self, without: Iterable[Collection[str]] = (), channels: int = 1, ignore_label: int | None = None):
        self.without = [frozenset(cases) for cases in without]
        self.channels, self.value = channels, IGNORE if ignore_label is None else ignore_label

    def up(self, target: Target, keys: Sequence[str]) -> Target:
        """The target ``(B, channels, *S)``, or a list of them, of images from the cases ``keys``; changed in place."""
        for number, cases in enumerate(self.without):
            if cases:
                among = torch.tensor([case in cases for case in keys])
                kind = slice(number * self.channels, (number + 1) * self.channels)
                for one in target if isinstance(target, list) else [target]:
                    one[among, kind] = self.value
        return target


class RegionsOfKinds(SegOnlyTransform):
    """The regions of each kind of label, one kind after the other; nnU-Net's own drops all channels but one."""

    def __init__(self, own: ConvertSegmentationToRegionsTransform, kinds: int):
        super().__init__()
        self.kinds = [copy(own) for _ in range(kinds)]
        for channel, kind in enumerate(self.kinds):
            kind.channel_in_seg = channel

    def _apply_to_segmentation(self, segmentation: Tensor, **params: Any) -> Tensor:
        return torch.cat([kind._apply_to_segmentation(segmentation, **params) for kind in self.kinds])


def for_kinds(transforms: ComposeTransforms, kinds: int) -> ComposeTransforms:
    """nnU-Net's augmentation for labels of so many kinds."""
    own = ConvertSegmentationToRegionsTransform
    if kinds == 1 or not any(isinstance(one, own) for one in transforms.transforms):
        return transforms
    return ComposeTransforms(
        [RegionsOfKinds(one, kinds) if isinstance(one, own) else one for one in transforms.transforms]
    )
