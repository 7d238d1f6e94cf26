"""Clean cases that have, or had, another label too: of their pixels it is known which class was labelled as which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from torch import Tensor

from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.maths.labels import IGNORE
from nnunetv2_mlbseg.maths.weighting.depth import depth_levels, is_flat
from noise_synthesis.safe_io.structures import Structures


@dataclass(frozen=True)
class FormerPair:
    """Both labels of a case in the preprocessed geometry, in every group of classes (see `maths/label_space`).

    Attributes:
        source: The number of the source of the former label, negative for none.
        truth, former: (G, Z, Y, X) int64, negative = no label.
        levels: (G, Z, Y, X) int64, how deep voxels lie within the former label, as the training counts it.
    """

    source: int
    truth: Tensor
    former: Tensor
    levels: Tensor


def former_pairs(
    dataset: nnUNetBaseDataset,
    store: LabelStore,
    source_number: Callable[[str], int],
    structures: Structures,
    patch: Sequence[int],
) -> Iterator[FormerPair]:
    """The pairs of all cases of ``dataset``.

    Args:
        dataset: Preprocessed clean cases, each with another label in ``store``.
        source_number: The number of the source of a case's other label, negative for none.
        structures: The classes or regions of the dataset.
        patch: The shape that the training sees; in 2D every slice is an image.
    """
    for case in dataset.identifiers:
        truth, former = (
            in_groups(np.asarray(label[:])[0], structures)
            for label in (dataset.load_case(case)[1], store.load(case)[0])
        )
        images = former.flatten(0, 1) if len(patch) == 2 else former
        levels = depth_levels(images, is_flat(patch)).view(former.shape)
        yield FormerPair(source_number(case), truth, former, levels)


def in_groups(label: np.ndarray, structures: Structures) -> Tensor:
    """A preprocessed label map (Z, Y, X) as class indices (G, Z, Y, X), negative = no label.

    The -1 that nnU-Net writes outside of what an image shows is background, as it is for the loaders.
    """
    masks = np.stack(list(structures.masks(label))) if structures.regions else np.maximum(label, 0)[None]
    return torch.from_numpy(np.where(label == structures.ignore, IGNORE, masks.astype(np.int64)))
