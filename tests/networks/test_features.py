"""The mean of what an encoder sees, over calls of any size."""

from __future__ import annotations

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from nnunetv2_mlbseg.networks.features import features_of, mean_features


@pytest.fixture
def network() -> PlainConvUNet:
    torch.manual_seed(0)
    return PlainConvUNet(1, 3, (4, 6, 8), nn.Conv2d, 3, (1, 2, 2), 1, 2, 1, nonlin=nn.LeakyReLU).eval()


def test_every_place_of_every_image_counts_the_same(network):
    images = torch.randn(5, 1, 16, 16)
    with features_of(network) as whole:
        network(images)
    expected = whole.skips[-1].double().mean(dim=(0, 2, 3))
    with mean_features(network) as found:
        network(images[:3])
        network(images[3:])
    assert found.images == 5 and not found.mean.requires_grad
    torch.testing.assert_close(found.mean, expected.detach())
    network(torch.randn(2, 1, 16, 16))
    torch.testing.assert_close(found.mean, expected.detach())  # the block is over
