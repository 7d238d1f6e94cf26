"""Eq. 1: the network trained on the clean cases labels the unlabeled ones."""

from __future__ import annotations

import errno
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

from nnunetv2_mlbseg.generated_labels import ClassKey, GeneratedLabels
from nnunetv2_mlbseg.processes import Processes
from noise_synthesis.compressed import last_line, refuse_short_nifti
from noise_synthesis.files import atomic_path


def divide(cases: Sequence[str], done: Collection[str], processes: Processes) -> list[str]:
    """This process's part of the cases: of those that still need a label as equal a part as of those that have one."""
    finished = [case for case in cases if case in done]
    return [*processes.part(finished), *processes.part([case for case in cases if case not in done])]


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

    def generate(
        self,
        dataset: nnUNetBaseDataset,
        cases: Sequence[str],
        target: GeneratedLabels,
        report: Callable[[str], None],
    ) -> None:
        """Label the cases that ``target`` does not hold yet, one after the other, and say so."""
        done = target.complete()
        for number, case in enumerate(cases, start=1):
            if case in done:
                continue
            logits, properties = self.logits(dataset, case)
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
