"""What the trained network itself says about a training case, in the case's own geometry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from torch import Tensor

from nnunetv2_mlbseg.label_generation import LabelGenerator

if TYPE_CHECKING:
    from nnunetv2_mlbseg.trainer import nnUNetTrainerMLBSeg


class NetworkOpinion:
    """The teacher's class probabilities by nnU-Net's own inference: sliding window, mirroring, resampling, cropping."""

    def __init__(self, trainer: nnUNetTrainerMLBSeg, generator: LabelGenerator):
        self.trainer, self.generator = trainer, generator

    @classmethod
    @contextmanager
    def of(cls, trainer: nnUNetTrainerMLBSeg) -> Iterator[NetworkOpinion]:
        """Set the teacher of a restored trainer up for inference; mirrored as in nnU-Net's inference."""
        mirror = trainer.inference_allowed_mirroring_axes
        plans, configuration = trainer.plans_manager, trainer.configuration_manager
        with trainer._for_inference(trainer.teacher):
            with redirect_stdout(StringIO()):  # without a GPU nnU-Net tells that it will not use one
                generator = LabelGenerator(
                    trainer.teacher.eval(), plans, configuration, trainer.dataset_json, mirror, trainer.device
                )
            yield cls(trainer, generator)

    def probabilities(self, case: str) -> Tensor:
        """Class probabilities (C, Z, Y, X) in the geometry of the raw image, float32, on the CPU."""
        logits, properties = self.generator.logits(self.trainer._dataset([case]), case)
        _, found = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            self.generator.plans,
            self.generator.configuration,
            self.generator.labels,
            properties,
            return_probabilities=True,
            num_threads_torch=torch.get_num_threads(),
        )
        return torch.from_numpy(found).float()
