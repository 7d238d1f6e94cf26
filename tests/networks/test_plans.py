"""Smaller configurations than planned: what they inherit, what is cut, which patches their networks can halve."""

from __future__ import annotations

import pytest
from planned_dataset import example_plans

from nnunetv2_mlbseg.networks.plans import cut_network, planned, smaller
from noise_synthesis.safe_io.errors import InputError


def test_a_configuration_has_what_it_inherits():
    found = planned(example_plans(), "3d_cascade_fullres")
    assert found["batch_size"] == 2 and found["previous_stage"] == "3d_lowres" and "inherits_from" not in found


def test_an_unknown_configuration_is_refused_with_those_that_there_are():
    plans = example_plans()
    with pytest.raises(InputError, match="no configuration 4d in the plans, expected one of 2d, 3d_fullres, 3d_casc"):
        planned(plans, "4d")
    plans["configurations"]["2d"]["inherits_from"] = "2d"
    with pytest.raises(InputError, match="no configuration 2d"):
        planned(plans, "2d")


def test_the_network_is_cut_to_its_first_stages_and_the_plan_stays_as_it_is():
    plans = example_plans()
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["n_conv_per_stage"] = [1, 2, 3, 4, 5, 6]
    found = smaller(plans, "2d", patch_size=(64, 48), batch_size=3, features=(4, 8, 8))
    assert set(found) == {"inherits_from", "patch_size", "batch_size", "architecture"}
    assert (found["inherits_from"], found["patch_size"], found["batch_size"]) == ("2d", [64, 48], 3)
    assert found["architecture"]["arch_kwargs"] == {
        "n_stages": 3,
        "features_per_stage": [4, 8, 8],
        "kernel_sizes": [[3, 3]] * 3,
        "strides": [[1, 1], [2, 2], [2, 2]],
        "n_conv_per_stage": [1, 2, 3],
        "n_conv_per_stage_decoder": [2, 2],
    }
    assert plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["n_stages"] == 6


def test_what_is_not_given_stays_as_planned():
    assert smaller(example_plans(), "2d", overrides={"batch_dice": True}) == {"inherits_from": "2d", "batch_dice": True}


def test_overrides_come_last_and_are_what_the_patch_is_checked_by():
    plans = example_plans()
    three = cut_network(plans["configurations"]["2d"]["architecture"], (4, 8, 8))
    assert smaller(plans, "2d", patch_size=(36, 36), overrides={"architecture": three})["architecture"] == three
    with pytest.raises(InputError, match="patch size is 36 x 36, expected multiples of 32 x 32"):
        smaller(plans, "2d", patch_size=(36, 36))


@pytest.mark.parametrize(
    ("patch", "features", "message"),
    [
        ((66, 64), (4, 8, 8), "patch size is 66 x 64, expected multiples of 4 x 4, by which the 3 stages"),
        ((64, 64, 64), (4, 8, 8), "patch size is 64 x 64 x 64, expected 2 numbers"),
        ((4, 4), (4, 8, 8), "patch size is 4 x 4, of which the 3 stages of the network leave one pixel"),
        ((64, 64), (4, 8, 4), r"features is \[4, 8, 4\], expected no stage with fewer than the one before"),
        ((64, 64), (4,) * 7, "features for 7 stages, but nnU-Net's plan has 6"),
    ],
)
def test_what_no_network_can_train_is_refused(patch, features, message):
    with pytest.raises(InputError, match=message):
        smaller(example_plans(), "2d", patch_size=patch, features=features)


def test_a_side_counts_its_own_strides_and_two_pixels_are_enough():
    plans = example_plans()
    plans["configurations"]["2d"]["architecture"]["arch_kwargs"]["strides"] = [[1, 1], [1, 2], [2, 2], [2, 2]]
    assert smaller(plans, "2d", patch_size=(4, 16))["patch_size"] == [4, 16]
    with pytest.raises(InputError, match="expected multiples of 4 x 8"):
        smaller(plans, "2d", patch_size=(4, 12))
