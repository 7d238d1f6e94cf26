"""What the loaders draw from: cases as preprocessed, cases with another label in place, two batches side by side."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.data_loader import SlimDataLoaderBase
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from dataset_conversion.raw.fingerprint import content_hash
from nnunetv2_mlbseg.cases.label_store import GeneratedLabels
from noise_synthesis.safe_io.errors import InputError


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

    def __init__(self, base: nnUNetBaseDataset, relabelled: Collection[str], labels: GeneratedLabels):
        super().__init__(base)
        self.relabelled = frozenset(relabelled)
        self.labels = labels

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict]:
        """Image ``(C, Z, Y, X)``, label ``(1, Z, Y, X)``, None, properties, as nnU-Net's datasets return them."""
        data, seg, previous, properties = self.base.load_case(identifier)
        if identifier in self.relabelled:
            seg, class_locations = self.labels.load(identifier)
            if seg.shape[1:] != data.shape[1:]:
                raise InputError(
                    f"{self.labels.folder / identifier}: {self.labels.kind} label is {seg.shape[1:]}, image "
                    f"{data.shape[1:]}; the data was preprocessed anew, so train again without --c"
                )
            properties = {**properties, "class_locations": class_locations}
        return data, seg, previous, properties


class PairedLoader(SlimDataLoaderBase):
    """One clean and one imperfect batch per call, so that all worker processes serve both.

    The clean batch has nnU-Net's keys ``data`` and ``target``; the imperfect one ``imperfect_data``,
    ``imperfect_target``, ``imperfect_generated``, which says for each image whether a network made its label, and
    ``imperfect_case``, the place of its case in ``noisy``, -1 for others.

    Args:
        generated: The cases with generated labels.
        noisy: The cases with labels of their own, in an order that stays.
    """

    def __init__(
        self,
        clean: nnUNetDataLoader,
        imperfect: nnUNetDataLoader,
        generated: Collection[str] = (),
        noisy: Sequence[str] = (),
    ):
        super().__init__(None, clean.batch_size, None)
        self.clean = clean
        self.imperfect = imperfect
        self.generated = frozenset(generated)
        self.number = {case: number for number, case in enumerate(noisy)}

    def generate_train_batch(self) -> dict[str, Any]:
        """Draw both batches."""
        clean, imperfect = next(self.clean), next(self.imperfect)
        return {
            "data": clean["data"],
            "target": clean["target"],
            "imperfect_data": imperfect["data"],
            "imperfect_target": imperfect["target"],
            "imperfect_generated": torch.tensor([case in self.generated for case in imperfect["keys"]]),
            "imperfect_case": torch.tensor([self.number.get(case, -1) for case in imperfect["keys"]]),
        }


def count_slices(dataset: nnUNetBaseDataset) -> int:
    """Number of slices (first spatial axis) over all cases: what one pass over 2D data consists of."""
    return sum(int(dataset.load_case(case)[0].shape[1]) for case in dataset.identifiers)


def verify_cases(
    dataset: nnUNetBaseDataset, allowed: Collection[int], folder: Path
) -> tuple[list[str], dict[str, str]]:
    """Read every case once and describe what a training would trip over.

    Args:
        dataset: nnU-Net's dataset over the cases to read.
        allowed: Label values that may occur; -1 (outside the cropped foreground) is always allowed.
        folder: Named in the messages.

    Returns:
        One line per problem (unreadable files, image and label of different shape, NaN or infinite intensities,
        label values that dataset.json does not know), and a hash of every readable image by case.
    """
    known = np.array(sorted({-1, *allowed}))
    found, images = [], {}
    for case in dataset.identifiers:
        try:
            data, seg, _, _ = dataset.load_case(case)
            image, label = np.asarray(data[:]), np.asarray(seg[:])
        except Exception as error:  # the formats raise their own types; whichever it is, the case cannot be used
            found.append(f"{folder / case}: cannot be read ({type(error).__name__}: {error})")
            continue
        images[case] = content_hash(image)
        if image.shape[1:] != label.shape[1:]:
            found.append(f"{folder / case}: image is {image.shape[1:]}, label {label.shape[1:]}, expected equal shapes")
        if not np.isfinite(image).all():
            found.append(f"{folder / case}: image has NaN or infinite values, expected finite intensities")
        strange = np.setdiff1d(np.unique(label), known)
        if strange.size:
            found.append(
                f"{folder / case}: label has the values {strange.tolist()}, expected only {known[1:].tolist()}"
            )
    return found, images
