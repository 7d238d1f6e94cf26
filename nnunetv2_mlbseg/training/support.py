"""Which of nnU-Net's combinations MLB-Seg trains, and what to use where it does not."""

from __future__ import annotations

from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunetv2_mlbseg.networks.plans import planned
from nnunetv2_mlbseg.networks.surgery import mixes_images
from nnunetv2_mlbseg.runtime.errors import UnsupportedError
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.training.stages import Stages
from noise_synthesis.safe_io.errors import InputError
from noise_synthesis.safe_io.structures import has_regions


def check_unlabeled_supported(name: str, configuration: ConfigurationManager, stages: Stages) -> None:
    """Refuse what would give unlabeled cases that train wrong intensities or meaningless labels.

    Raises:
        UnsupportedError: nnU-Net normalises inside a mask, which it derives from the label.
        InputError: there is no stage before whose network could label them.
    """
    if any(configuration.use_mask_for_norm):
        raise UnsupportedError(
            f"configuration {name} has use_mask_for_norm: nnU-Net takes that mask from the label, so unlabeled cases "
            f"would be normalised otherwise than all others; set use_mask_for_norm to false for every channel in the "
            f"plans file and run nnUNetv2_preprocess again"
        )
    if stages.all and stages.all[0].labelling is not None:
        raise InputError(
            "warmup_epochs is 0 with unlabeled cases, expected at least 1: their labels come from the network after "
            "the warm-up (Eq. 1)"
        )


def check_supported(plans: dict[str, Any], configuration: str) -> ConfigurationManager:
    """Return nnU-Net's view of the configuration if MLB-Seg can train it.

    Raises:
        UnsupportedError: the second stage of a cascade.
        InputError: there is no such configuration.
    """
    planned(plans, configuration)
    chosen = PlansManager(plans).get_configuration(configuration)
    if chosen.previous_stage_name is not None:
        raise UnsupportedError(
            f"configuration {configuration} needs out-of-sample predictions of {chosen.previous_stage_name} for noisy "
            f"and unlabeled cases; train 3d_fullres, or ensemble it with {chosen.previous_stage_name} "
            f"(nnUNetv2_ensemble)"
        )
    return chosen


def check_regions_supported(method: str, takes_regions: bool, dataset_json: dict[str, Any]) -> None:
    """Refuse regions for a method that would take their targets for those of exclusive classes.

    Raises:
        UnsupportedError: it is so.
    """
    if has_regions(dataset_json["labels"]) and not takes_regions:
        raise UnsupportedError(
            f"dataset.json defines regions (labels that are lists), and {method} trains on exclusive classes: give "
            f"every class one number in dataset.json, or use nnUNetTrainerMLBSeg"
        )


def check_deep_supervision(name: str, stages: int, wanted: bool) -> None:
    """Refuse a network none of whose outputs would count.

    nnU-Net's deep supervision gives the coarsest output, that of the last stage but one, the weight 0. With two stages
    it is the only output: the weights are 0 / 0, and so is every loss.

    Raises:
        InputError: deep supervision of fewer than three stages.
    """
    if wanted and stages < 3:
        raise InputError(
            f"configuration {name} plans a network of {stages} stages, expected at least 3 with deep supervision, "
            f"which leaves the coarsest output out; set deep_supervision to false or plan more stages"
        )


def check_whole_batch(method: str, needed: bool, processes: Processes) -> None:
    """Refuse several processes where a method compares the images of a batch with each other, or has a critic.

    Raises:
        UnsupportedError: each would compare those of its own part only.
    """
    if needed and processes.count > 1:
        raise UnsupportedError(
            f"{method} compares the images of a batch with each other or shows them to a critic, and {processes.count} "
            f"processes would each see their own part only: use -num_gpus 1"
        )


def check_sharing_supported(network: nn.Module, processes: Processes) -> None:
    """Refuse layers that mix the images of a batch where several processes hold parts of it.

    Raises:
        UnsupportedError: batch normalisation, whose statistics would be those of a part.
    """
    if processes.count > 1 and mixes_images(network):
        raise UnsupportedError(
            "the network has batch normalisation, which several processes would compute over their own images only: "
            "use -num_gpus 1, or a plan with instance normalisation, which nnU-Net plans by default"
        )
