"""Noisy labels of whole cases, corrected between two stages of a training by what the method makes of predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from torch import Tensor

from nnunetv2_mlbseg.cases.label_generation import class_locations
from nnunetv2_mlbseg.cases.label_store import LabelStore
from nnunetv2_mlbseg.cases.prediction import CasePredictor

AS_THEY_ARE = "as they are"
"""The source of labels that no correction has changed."""


@dataclass(frozen=True)
class Correction:
    """How a method corrects labels.

    Attributes:
        name: Whatever decides on the result beside the network, in a few words.
        corrected: From logits ``(C, Z, Y, X)`` and the label ``(Z, Y, X)`` of the dataset, negative or above C - 1
            where there is none, to the label that trains.
    """

    name: str
    corrected: Callable[[Tensor, Tensor], Tensor]


def correct(
    predictor: CasePredictor,
    dataset: nnUNetBaseDataset,
    cases: Sequence[str],
    target: LabelStore,
    correction: Correction,
    report: Callable[[str], None],
) -> None:
    """Correct the labels of cases that ``target`` does not hold yet, one after the other, and say how much changed."""
    done = target.complete()
    for number, case in enumerate(cases, start=1):
        if case in done:
            continue
        before = np.asarray(dataset.load_case(case)[1][:])
        logits, _ = predictor.logits(dataset, case)
        after = correction.corrected(logits.float(), torch.from_numpy(before[0].astype(np.int64)))
        seg = after.numpy().astype(before.dtype)[None]
        target.save(case, seg, class_locations(seg, predictor), tuple(predictor.configuration.patch_size))
        target.mark_complete(case)
        report(f"corrected label {number} of {len(cases)}: {case}, {(seg != before).mean():.2%} of the voxels changed")
