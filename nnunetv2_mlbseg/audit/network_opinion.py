"""What the trained network itself says about a training case, in the case's own geometry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import insert_crop_into_image
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn

from nnunetv2_mlbseg.cases.prediction import CasePredictor
from nnunetv2_mlbseg.networks.surgery import predicting
from nnunetv2_mlbseg.training.restored import TrainedFold


def predictor_of(fold: TrainedFold, network: nn.Module, mirror: tuple[int, ...] | None) -> CasePredictor:
    """nnU-Net's inference with a network of the fold's plans."""
    return CasePredictor(network, fold.plans, fold.configuration, fold.dataset_json, mirror, fold.device)


def to_image(
    maps: Tensor, properties: dict[str, Any], plans: PlansManager, configuration: ConfigurationManager
) -> Tensor:
    """Bring maps (C, Z, Y, X) of a preprocessed case to the geometry of its raw image, 0 where it was cropped away.

    As nnU-Net does with logits before it makes probabilities of them
    (:func:`convert_predicted_logits_to_segmentation_with_correct_shape`).
    """
    spacing = [properties["spacing"][axis] for axis in plans.transpose_forward]
    shape = properties["shape_after_cropping_and_before_resampling"]
    own = configuration.spacing if len(configuration.spacing) == len(shape) else [spacing[0], *configuration.spacing]
    resampled = np.asarray(configuration.resampling_fn_probabilities(maps, shape, own, spacing))
    whole = np.zeros((len(resampled), *properties["shape_before_cropping"]), np.float32)
    for target, one in zip(whole, resampled, strict=True):
        target[:] = insert_crop_into_image(target, one, properties["bbox_used_for_cropping"])
    turned = whole.transpose([0, *(axis + 1 for axis in plans.transpose_backward)])
    return torch.from_numpy(np.ascontiguousarray(turned))


@dataclass(frozen=True)
class Opinion:
    """Class probabilities (C, Z, Y, X) in the geometry of the raw image, float32, on the CPU.

    Attributes:
        network: The teacher's, which is what nnU-Net predicts with.
        both: The mean of the teacher's and the student's.
    """

    network: Tensor
    both: Tensor


class NetworkOpinion:
    """Class probabilities by nnU-Net's own inference: sliding window, mirroring, resampling, cropping."""

    def __init__(self, fold: TrainedFold, teacher: CasePredictor, student: CasePredictor):
        self.fold, self.teacher, self.student = fold, teacher, student

    @classmethod
    @contextmanager
    def of(cls, fold: TrainedFold) -> Iterator[NetworkOpinion]:
        """Set both networks of a fold up for inference; mirrored as in nnU-Net's inference."""
        with ExitStack() as stack:
            networks = [stack.enter_context(predicting(one)) for one in (fold.teacher, fold.student)]
            yield cls(fold, *(predictor_of(fold, network, fold.mirror_axes) for network in networks))

    def of_case(self, case: str) -> Opinion:
        """What both networks say."""
        network = self._probabilities(self.teacher, case)
        return Opinion(network, (network + self._probabilities(self.student, case)) / 2)

    def network(self, case: str) -> Tensor:
        """What the teacher says alone."""
        return self._probabilities(self.teacher, case)

    def _probabilities(self, predictor: CasePredictor, case: str) -> Tensor:
        logits, properties = predictor.logits(self.fold.dataset([case]), case)
        _, found = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            predictor.plans,
            predictor.configuration,
            predictor.label_manager,
            properties,
            return_probabilities=True,
            num_threads_torch=torch.get_num_threads(),
        )
        return torch.from_numpy(found).float()
