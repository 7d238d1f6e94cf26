"""What MLB-Seg does not train says so, and says what to use instead."""

from __future__ import annotations

import copy

import pytest
from maths_support import small_network
from training_support import TINY

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.methods.mlbseg.method import MLBSeg
from nnunetv2_mlbseg.methods.mlbseg.settings import MLBSegSettings
from nnunetv2_mlbseg.methods.plain import Plain
from nnunetv2_mlbseg.runtime.errors import UnsupportedError
from nnunetv2_mlbseg.runtime.processes import Processes
from nnunetv2_mlbseg.settings.overrides import resolve
from nnunetv2_mlbseg.training.method import Method
from nnunetv2_mlbseg.training.stages import Stages
from nnunetv2_mlbseg.training.support import (
    check_deep_supervision,
    check_regions_supported,
    check_sharing_supported,
    check_supported,
    check_unlabeled_supported,
    check_whole_batch,
)
from noise_synthesis.safe_io.errors import InputError

PLANS = {
    "plans_name": "nnUNetPlans",
    "dataset_name": "Dataset900_Tiny",
    "label_manager": "LabelManager",
    "configurations": {
        "2d": {"patch_size": [32, 32], "architecture": TINY["architecture"]},
        "3d_fullres": {"patch_size": [16, 32, 32], "architecture": TINY["architecture"]},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    },
}


def test_configurations_of_one_stage_pass():
    assert check_supported(copy.deepcopy(PLANS), "2d").patch_size == [32, 32]
    assert check_supported(copy.deepcopy(PLANS), "3d_fullres").patch_size == [16, 32, 32]


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        (
            "3d_cascade_fullres",
            r"^configuration 3d_cascade_fullres needs out-of-sample predictions of 3d_lowres for noisy and unlabeled "
            r"cases; train 3d_fullres, or ensemble it with 3d_lowres \(nnUNetv2_ensemble\)$",
        ),
    ],
)
def test_other_combinations_name_the_alternative(configuration, words):
    with pytest.raises(UnsupportedError, match=words) as caught:
        check_supported(copy.deepcopy(PLANS), configuration)
    assert isinstance(caught.value, NotImplementedError)


def test_regions_are_for_methods_that_say_so():
    regions = {"labels": {"background": 0, "whole": [1, 2], "core": 2}}
    for method in (MLBSeg, Plain):
        check_regions_supported(method.__name__, method.takes_regions, regions)
    check_regions_supported("Method", Method.takes_regions, {"labels": {"background": 0, "organ": 1}})
    with pytest.raises(UnsupportedError, match=r"Method trains on exclusive classes.* or use nnUNetTrainerMLBSeg$"):
        check_regions_supported("Method", Method.takes_regions, regions)


def test_a_configuration_that_is_not_planned_is_refused_in_one_line():
    """nnU-Net plans 3d_lowres only for large images."""
    with pytest.raises(InputError, match="no configuration 3d_lowres in the plans, expected one of 2d, 3d_fullres, 3d"):
        check_supported(copy.deepcopy(PLANS), "3d_lowres")


def test_batch_normalisation_is_refused_where_processes_share_a_batch():
    check_sharing_supported(small_network(norm="batch"), Processes())
    check_sharing_supported(small_network(norm="instance"), Processes(0, 2))
    with pytest.raises(UnsupportedError, match="use -num_gpus 1"):
        check_sharing_supported(small_network(norm="batch"), Processes(0, 2))


def test_two_stages_leave_deep_supervision_nothing_to_count():
    """nnU-Net's weights 1, 1/2, ... of all outputs but the coarsest, over their sum: 0 / 0 with the only output."""
    check_deep_supervision("2d", 3, True)
    check_deep_supervision("2d", 2, False)
    with pytest.raises(InputError, match=r"2d plans a network of 2 stages, expected at least 3 .* set deep_"):
        check_deep_supervision("2d", 2, True)


def _stages(method=MLBSeg, **values) -> Stages:
    return Stages(method.stages(resolve(MLBSegSettings, values), 4, FoldRoles(("c",), (), ("u",), ("v",))))


def test_unlabeled_cases_need_a_warm_up_and_normalisation_without_a_mask():
    plans = copy.deepcopy(PLANS)
    plans["configurations"]["2d"]["use_mask_for_norm"] = [False]
    plain = check_supported(copy.deepcopy(plans), "2d")
    check_unlabeled_supported("2d", plain, _stages())
    check_unlabeled_supported("2d", plain, _stages(Plain, warmup_epochs=0, training_labels="true"))
    with pytest.raises(InputError, match="warmup_epochs is 0 with unlabeled cases"):
        check_unlabeled_supported("2d", plain, _stages(warmup_epochs=0))
    plans["configurations"]["2d"]["use_mask_for_norm"] = [True]
    masked = check_supported(plans, "2d")
    with pytest.raises(UnsupportedError, match="set use_mask_for_norm to false"):
        check_unlabeled_supported("2d", masked, _stages())


def test_a_method_that_compares_images_of_a_batch_is_refused_in_several_processes():
    check_whole_batch("Contrast", True, Processes())
    check_whole_batch("MeanTeacher", False, Processes(0, 2))
    with pytest.raises(UnsupportedError, match=r"Contrast compares the images .* 2 processes .* -num_gpus 1"):
        check_whole_batch("Contrast", True, Processes(0, 2))
