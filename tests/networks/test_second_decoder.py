"""The second decoder: as the first one in shape, other in how it enlarges, and without an encoder of its own."""

from __future__ import annotations

import pytest
import torch
from maths_support import as_list, small_network
from torch import nn

from nnunetv2_mlbseg.networks.second_decoder import Enlarge, SecondDecoder
from noise_synthesis.safe_io.errors import InputError


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("dims", [2, 3])
def test_outputs_are_those_of_a_decoder(kind: str, deep: bool, dims: int) -> None:
    network = small_network(kind, classes=3, deep_supervision=deep, dims=dims)
    second = SecondDecoder(small_network(kind, classes=3, deep_supervision=deep, dims=dims, seed=1))
    skips = network.encoder(torch.randn(2, 1, *[8] * dims))
    first, other = as_list(network.decoder(skips)), as_list(second(skips))
    assert [one.shape for one in other] == [one.shape for one in first]
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    sum(one.sum() for one in other).backward()
    assert next(network.encoder.parameters()).grad is not None
    assert all(parameter.grad is not None for name, parameter in second.named_parameters() if deep or "seg" not in name)
    assert not any("encoder" in name for name in second.state_dict())


def test_enlarging_is_a_convolution_after_linear_interpolation() -> None:
    layer = Enlarge(nn.Conv3d, 3, 2, (1, 2, 2))
    features = torch.randn(1, 3, 2, 4, 4)
    up = nn.functional.interpolate(features, size=(2, 8, 8), mode="trilinear")
    torch.testing.assert_close(layer(features), layer.convolution(up))


def test_another_kind_of_network_is_refused() -> None:
    with pytest.raises(InputError, match="Linear without encoder and decoder"):
        SecondDecoder(nn.Linear(2, 2))
