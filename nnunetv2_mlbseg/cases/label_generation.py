"""Eq. 1: the network trained on the clean cases labels the unlabeled ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from nnunetv2_mlbseg.cases.label_store import ClassKey, LabelStore
from nnunetv2_mlbseg.cases.prediction import CasePredictor
from nnunetv2_mlbseg.maths.class_shares import fitted_bias
from nnunetv2_mlbseg.runtime.processes import Processes
from noise_synthesis.safe_io.structures import Structures

SAMPLED_CASES = 20
"""So many unlabeled cases, at most, tell which bias gives them the class shares of the clean ones."""

SAMPLED_VOXELS = 250_000
"""Of all of them together. A class of one voxel in 10,000 has 25 among them, which fixes its bias to about 0.2; four
times as many would halve that, and the choice of scans moves it more."""


def divide(cases: Sequence[str], done: Collection[str], processes: Processes) -> list[str]:
    """This process's part of the cases: of those that still need a label as equal a part as of those that have one."""
    finished = [case for case in cases if case in done]
    return [*processes.part(finished), *processes.part([case for case in cases if case not in done])]


def mean_shares(dataset: nnUNetBaseDataset, structures: Structures) -> torch.Tensor:
    """The share of every class in a case's labelled voxels, mean over the cases: ``(G, C)``, each group adds up to 1.

    As in training, what nnU-Net's cropping left outside is background.
    """
    values = max(value for own in structures.values.values() for value in own) + 1
    shares = np.zeros(values)
    for case in dataset.identifiers:
        labels = np.asarray(dataset.load_case(case)[1][:]).clip(min=0)
        counts = np.bincount(labels.ravel().astype(np.int64), minlength=values)[:values]  # beyond: the ignore label
        shares += counts / max(counts.sum(), 1)
    of_value = torch.from_numpy(shares / len(dataset.identifiers))
    if not structures.regions:
        return of_value.unsqueeze(0)
    inside = torch.stack([of_value[list(own)].sum() for own in structures.values.values()])
    return torch.stack([1 - inside, inside], dim=1)


def fit_bias(
    predictor: CasePredictor,
    clean: nnUNetBaseDataset,
    unlabeled: nnUNetBaseDataset,
    processes: Processes,
    report: Callable[[str], None],
) -> list[float]:
    """What to add to every output for unlabeled cases to get the class shares of the clean ones.

    Predicts up to :data:`SAMPLED_CASES` of the unlabeled cases; every case counts the same, whatever its size.
    Processes share the work and find the same. ``report`` takes lines for the log: it can take minutes.
    """
    shares = mean_shares(clean, predictor.structures)
    step = math.ceil(len(unlabeled.identifiers) / SAMPLED_CASES)
    chosen = sorted(unlabeled.identifiers)[::step]
    voxels = SAMPLED_VOXELS // len(chosen)
    report(f"Predicting {len(chosen)} unlabeled cases for the class shares of the clean ones (align_shares)")
    own = [_sample(predictor.logits(unlabeled, case)[0], voxels) for case in processes.part(chosen)]
    sample = torch.cat([part for parts in processes.gather(own) for part in parts])
    report(f"Fitting the shares of {sample.shape[1]} classes to {len(sample)} of their voxels")
    space = predictor.space
    folded = space.logits(sample).unflatten(0, (-1, space.groups))
    bias = torch.stack([fitted_bias(folded[:, number], own) for number, own in enumerate(shares)])
    return space.output(bias)[0].tolist()


def _sample(logits: torch.Tensor, voxels: int) -> torch.Tensor:
    """Logits ``(voxels, C)`` of random voxels of a case ``(C, Z, Y, X)``, the same each time, with replacement."""
    flat = logits.flatten(1)
    drawn = torch.randint(flat.shape[1], (voxels,), generator=torch.Generator().manual_seed(0))
    return flat[:, drawn].T.float()


def generate(
    predictor: CasePredictor,
    dataset: nnUNetBaseDataset,
    cases: Sequence[str],
    target: LabelStore,
    report: Callable[[str], None],
) -> None:
    """Label the cases that ``target`` does not hold yet, one after the other, and say so.

    The bias that ``target`` records is added to the logits.
    """
    bias = target.bias()
    done = target.complete()
    for number, case in enumerate(cases, start=1):
        if case in done:
            continue
        logits, properties = predictor.logits(dataset, case)
        if bias is not None:
            logits = logits + torch.tensor(bias, dtype=logits.dtype).view(-1, *[1] * (logits.ndim - 1))
        seg = np.asarray(predictor.label_manager.convert_logits_to_segmentation(logits))[None]
        target.save(case, seg, class_locations(seg, predictor), tuple(predictor.configuration.patch_size))
        predictor.export(logits, properties, target.folder / case)
        target.mark_complete(case)
        report(f"generated label {number} of {len(cases)}: {case}, foreground {(seg > 0).mean():.2%} of the voxels")


def class_locations(seg: np.ndarray, predictor: CasePredictor) -> dict[ClassKey, Any]:
    """Voxels per class or region as nnU-Net's preprocessing samples them; foreground oversampling draws from these."""
    labels = predictor.label_manager
    classes: list[Any] = list(labels.foreground_regions if labels.has_regions else labels.foreground_labels)
    if labels.has_ignore_label:
        classes.append([-1, *labels.all_labels])
    return predictor.configuration.preprocessor_class._sample_foreground_locations(seg, classes)
