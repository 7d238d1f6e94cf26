"""Eq. 1: the network trained on the clean cases labels the unlabeled ones."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_mlbseg.cases.label_store import ClassKey, GeneratedLabels
from nnunetv2_mlbseg.maths.class_shares import fitted_bias
from nnunetv2_mlbseg.runtime.processes import Processes
from noise_synthesis.safe_io.compressed import last_line, refuse_short_nifti
from noise_synthesis.safe_io.files import atomic_path

SAMPLED_CASES = 20
"""So many unlabeled cases, at most, tell which bias gives them the class shares of the clean ones."""

SAMPLED_VOXELS = 1_000_000
"""Of all of them together."""


def divide(cases: Sequence[str], done: Collection[str], processes: Processes) -> list[str]:
    """This process's part of the cases: of those that still need a label as equal a part as of those that have one."""
    finished = [case for case in cases if case in done]
    return [*processes.part(finished), *processes.part([case for case in cases if case not in done])]


def mean_shares(dataset: nnUNetBaseDataset, classes: int) -> torch.Tensor:
    """The share of every class in a case's labelled voxels, ``(classes,)``, mean over the cases.

    As in training, what nnU-Net's cropping left outside is background.
    """
    shares = np.zeros(classes)
    for case in dataset.identifiers:
        labels = np.asarray(dataset.load_case(case)[1][:]).clip(min=0)
        counts = np.bincount(labels.ravel().astype(np.int64), minlength=classes)[:classes]  # beyond: the ignore label
        shares += counts / max(counts.sum(), 1)
    return torch.from_numpy(shares / len(dataset.identifiers))


class LabelGenerator:
    """Predicts preprocessed cases by nnU-Net's sliding window and stores the labels.

    Args:
        network: With deep supervision switched off.
        mirror_axes: Axes of test-time mirroring, or None for none.
    """

    def __init__(
        self,
        network: nn.Module,
        plans: PlansManager,
        configuration: ConfigurationManager,
        dataset_json: dict[str, Any],
        mirror_axes: tuple[int, ...] | None,
        device: torch.device,
    ):
        self.plans, self.configuration, self.dataset_json = plans, configuration, dataset_json
        self.labels = plans.get_label_manager(dataset_json)
        self.predictor = nnUNetPredictor(
            use_mirroring=mirror_axes is not None,
            device=device,
            allow_tqdm=False,
            perform_everything_on_device=device.type == "cuda",
        )
        self.predictor.manual_initialization(
            network, plans, configuration, None, dataset_json, "nnUNetTrainerMLBSeg", mirror_axes
        )

    def fit_bias(self, clean: nnUNetBaseDataset, unlabeled: nnUNetBaseDataset, processes: Processes) -> list[float]:
        """What to add to the logits of every class for unlabeled cases to get the class shares of the clean ones.

        Predicts up to :data:`SAMPLED_CASES` of the unlabeled cases; every case counts the same, whatever its size.
        Processes share the work and find the same.
        """
        classes = len(self.labels.all_labels)
        shares = mean_shares(clean, classes)
        step = math.ceil(len(unlabeled.identifiers) / SAMPLED_CASES)
        chosen = sorted(unlabeled.identifiers)[::step]
        own = [self._sample(unlabeled, case, SAMPLED_VOXELS // len(chosen)) for case in processes.part(chosen)]
        return fitted_bias(torch.cat([part for parts in processes.gather(own) for part in parts]), shares).tolist()

    def _sample(self, dataset: nnUNetBaseDataset, case: str, voxels: int) -> torch.Tensor:
        """Logits ``(voxels, C)`` of random voxels of a case, the same ones each time, with replacement."""
        logits = self.logits(dataset, case)[0].flatten(1)
        drawn = torch.randint(logits.shape[1], (voxels,), generator=torch.Generator().manual_seed(0))
        return logits[:, drawn].T.float()

    def generate(
        self,
        dataset: nnUNetBaseDataset,
        cases: Sequence[str],
        target: GeneratedLabels,
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
            logits, properties = self.logits(dataset, case)
            if bias is not None:
                logits = logits + torch.tensor(bias, dtype=logits.dtype).view(-1, *[1] * (logits.ndim - 1))
            seg = np.asarray(self.labels.convert_logits_to_segmentation(logits))[None]
            target.save(case, seg, self._class_locations(seg), tuple(self.configuration.patch_size))
            self._export(logits, properties, target.folder / case)
            target.mark_complete(case)
            report(f"generated label {number} of {len(cases)}: {case}, foreground {(seg > 0).mean():.2%} of the voxels")

    def logits(self, dataset: nnUNetBaseDataset, case: str) -> tuple[torch.Tensor, dict[str, Any]]:
        """Logits (C, Z, Y, X) of a preprocessed case, on the CPU, and nnU-Net's properties of the case."""
        data, _, _, properties = dataset.load_case(case)
        return self.predictor.predict_sliding_window_return_logits(
            torch.from_numpy(np.array(data[:]))
        ).cpu(), properties

    def _class_locations(self, seg: np.ndarray) -> dict[ClassKey, Any]:
        """Voxels per class as nnU-Net's preprocessing samples them; foreground oversampling draws from these."""
        classes: list[Any] = list(self.labels.foreground_labels)
        if self.labels.has_ignore_label:
            classes.append([-1, *self.labels.all_labels])
        return self.configuration.preprocessor_class._sample_foreground_locations(seg, classes)

    def _export(self, logits: torch.Tensor, properties: dict[str, Any], truncated: Path) -> None:
        ending = self.dataset_json["file_ending"]
        with atomic_path(truncated.with_name(truncated.name + ending)) as temporary:
            try:
                export_prediction_from_logits(
                    logits,
                    properties,
                    self.configuration,
                    self.plans,
                    self.dataset_json,
                    str(temporary)[: -len(ending)],
                    num_threads_torch=torch.get_num_threads(),
                )
            except RuntimeError as error:  # SimpleITK has no other
                if temporary.is_file() and os.access(temporary.parent, os.W_OK):
                    raise
                raise OSError(errno.EIO, f"cannot be written ({last_line(error)})", str(temporary)) from None
            refuse_short_nifti(temporary)
