"""A trained fold as others see it: which cases are unseen, and networks that predict and then train on as before."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
import torch
from maths_support import small_network

from nnunetv2_mlbseg.cases.roles import FoldRoles
from nnunetv2_mlbseg.networks.surgery import predicting
from nnunetv2_mlbseg.training.restored import TrainedFold


def fold(**known) -> TrainedFold:
    """A fold of which only that much is known."""
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(TrainedFold))
    return TrainedFold(**{**nothing, **known})


def test_validation_cases_that_trained_prove_nothing():
    """With fold all the clean cases train and validate."""
    roles = FoldRoles(("c0",), ("n0",), (), ("c0", "v0"))
    assert fold(roles=roles, training_cases=("c0", "n0")).unseen == ("v0",)


@pytest.mark.parametrize("mode", [True, False])
def test_a_network_predicts_with_one_output_and_then_is_as_before(mode):
    network, images = small_network(deep_supervision=True).train(mode), torch.zeros(1, 1, 16, 16)
    with pytest.raises(RuntimeError, match="stopped"), predicting(network) as ready:
        assert ready is network and not network.training
        assert isinstance(network(images), torch.Tensor)
        with predicting(network):
            pass
        assert not network.training and isinstance(network(images), torch.Tensor)
        raise RuntimeError("stopped")
    assert network.training is mode and len(network(images)) == 2


def test_a_network_without_scales_is_set_up_as_well():
    network = torch.nn.Conv2d(1, 2, 1)
    with predicting(network):
        assert not network.training
    assert network.training


def test_the_mode_of_the_teacher_stays_evaluation():
    teacher = small_network(deep_supervision=True).eval()
    with predicting(teacher):
        assert not teacher.training
    assert not teacher.training
