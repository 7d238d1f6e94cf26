"""What the loaders draw from: cases as nnU-Net preprocessed them, and cases with another label in place."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class, nnUNetBaseDataset

from nnunetv2_mlbseg.cases.label_store import ClassKey, LabelStore
from nnunetv2_mlbseg.maths.labels import IGNORE
from noise_synthesis.safe_io.errors import InputError


def open_dataset(folder: str, cases: Iterable[str]) -> nnUNetBaseDataset:
    """nnU-Net's dataset over some of the cases in a folder of preprocessed ones."""
    return dataset_class(str(folder))(str(folder), list(cases))


@cache
def dataset_class(folder: str) -> type[nnUNetBaseDataset]:
    """The class for the files in a folder, which is listed for that, once."""
    return infer_dataset_class(folder)


def count_images(dataset: nnUNetBaseDataset, patch_size: Sequence[int]) -> int:
    """What one pass over all cases consists of: their slices (first spatial axis), or as many patches as fill them.

    Args:
        patch_size: With three sides a case counts its size in patches, each side at least as one, rounded up.
    """
    shapes = [dataset.load_case(case)[0].shape[1:] for case in dataset.identifiers]
    if len(patch_size) < 3:
        return sum(int(shape[0]) for shape in shapes)
    return sum(math.ceil(math.prod(max(n / side, 1) for n, side in zip(s, patch_size, strict=True))) for s in shapes)


def load_fitting(labels: LabelStore, case: str, shape: tuple[int, ...]) -> tuple[Any, dict[ClassKey, np.ndarray]]:
    """Label ``(1, Z, Y, X)`` and class locations of a case.

    Args:
        shape: Of its preprocessed image, ``(Z, Y, X)``.

    Raises:
        InputError: the label is missing or has another shape.
    """
    seg, class_locations = labels.load(case)
    if seg.shape[1:] != shape:
        raise InputError(
            f"{labels.folder / case}: {labels.kind} label is {seg.shape[1:]}, image {shape}; the data was preprocessed "
            f"anew, so train again without --c"
        )
    return seg, class_locations


class DatasetView(nnUNetBaseDataset):
    """Another dataset's cases shown otherwise: what it shows is up to ``load_case`` of the subclass. Read-only.

    Args:
        base: nnU-Net's dataset over the cases.
    """

    def __init__(self, base: nnUNetBaseDataset):
        super().__init__(base.source_folder, list(base.identifiers), None)
        self.base = base

    @staticmethod
    def save_case(data: np.ndarray, seg: np.ndarray, properties: dict, output_filename_truncated: str) -> None:
        """Not offered."""
        raise NotImplementedError("a view of a dataset is read-only; save through nnU-Net's own dataset class")

    @staticmethod
    def get_identifiers(folder: str) -> list[str]:
        """Not offered: a folder listing has nothing to say about the cases of a fold."""
        raise NotImplementedError("a view takes its identifiers from the dataset it is given")


class RelabelledDataset(DatasetView):
    """Cases as nnU-Net preprocessed them, some of them with another label: generated (Eq. 1) or true.

    Args:
        base: nnU-Net's dataset over all cases.
        relabelled: Those with another label. Their label file in the preprocessed folder is never used: only image
            and properties are taken from there.
        labels: Where the other labels lie.
    """

    def __init__(self, base: nnUNetBaseDataset, relabelled: Collection[str], labels: LabelStore):
        super().__init__(base)
        self.relabelled = frozenset(relabelled)
        self.labels = labels

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict]:
        """Image ``(C, Z, Y, X)``, label ``(1, Z, Y, X)``, None, properties, as nnU-Net's datasets return them."""
        data, seg, previous, properties = self.base.load_case(identifier)
        if identifier in self.relabelled:
            seg, class_locations = load_fitting(self.labels, identifier, data.shape[1:])
            properties = {**properties, "class_locations": class_locations}
        return data, seg, previous, properties


class _OneValue(np.ndarray):
    """One value everywhere, which takes no memory; a part of it, such as a patch, is an array of its own."""

    def __getitem__(self, part: Any) -> Any:
        return np.array(super().__getitem__(part))


class BlankDataset(DatasetView):
    """Cases as nnU-Net preprocessed them, some of them without their label: -1 everywhere, and no class anywhere.

    So nnU-Net draws patches of those without regard to what they show.

    Args:
        base: nnU-Net's dataset over all cases.
        blank: Those without.
    """

    def __init__(self, base: nnUNetBaseDataset, blank: Collection[str]):
        super().__init__(base)
        self.blank = frozenset(blank)

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict]:
        """Image ``(C, Z, Y, X)``, label ``(1, Z, Y, X)``, None, properties, as nnU-Net's datasets return them."""
        data, seg, previous, properties = self.base.load_case(identifier)
        if identifier in self.blank:
            seg = np.broadcast_to(np.int16(IGNORE), seg.shape).view(_OneValue)
            properties = {**properties, "class_locations": dict.fromkeys(properties["class_locations"], ())}
        return data, seg, previous, properties
