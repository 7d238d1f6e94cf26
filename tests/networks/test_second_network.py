"""A second network: the same layers, other weights."""

from __future__ import annotations

import pytest
import torch
from maths_support import small_network
from torch import nn

from nnunetv2_mlbseg.networks.pixel_head import pixel_head
from nnunetv2_mlbseg.networks.second_network import initialised_anew
from noise_synthesis.safe_io.errors import InputError


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_every_parameter_is_another_one(kind: str) -> None:
    network = small_network(kind).requires_grad_(False)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    second = initialised_anew(network)
    assert second.state_dict().keys() == kept.keys()
    for name, value in second.state_dict().items():
        assert value.shape == kept[name].shape and not torch.equal(value, kept[name])
        assert torch.equal(network.state_dict()[name], kept[name])
    assert all(parameter.requires_grad for parameter in second.parameters()) and second.training


def test_kernels_are_nnunets_and_norms_begin_at_1_and_0() -> None:
    """He initialisation with a slope of 0.01: a variance of 2 over what enters a pixel."""
    second = initialised_anew(small_network())
    kernels = [module for module in second.modules() if isinstance(module, nn.Conv2d)]
    normal = torch.cat([(k.weight * (k.weight[0].numel() / 2) ** 0.5).flatten() for k in kernels])
    assert float(normal.std().detach()) == pytest.approx(1, abs=0.05) and all((k.bias == 0).all() for k in kernels)
    norms = [module for module in second.modules() if isinstance(module, nn.InstanceNorm2d)]
    assert norms and all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_a_pixel_head_takes_the_last_features() -> None:
    assert pixel_head(small_network(dims=3), 5)(torch.randn(2, 4, 3, 3, 3)).shape == (2, 5, 3, 3, 3)
    with pytest.raises(InputError, match="Linear without encoder and decoder"):
        pixel_head(nn.Linear(2, 2), 5)
