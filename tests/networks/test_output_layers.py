"""The layers that make a network's outputs, found by what it returns."""

from __future__ import annotations

import pytest
import torch
from maths_support import small_network
from torch import nn

from nnunetv2_mlbseg.networks.output_layers import copy_rows_, output_layers
from nnunetv2_mlbseg.networks.unetplusplus import UNetPlusPlus
from noise_synthesis.safe_io.errors import InputError

IMAGES = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("deep_supervision", [True, False])
def test_the_segmentation_layers_of_nnunets_networks_finest_first(deep_supervision):
    """Also where other layers have as many channels as there are classes."""
    network = small_network(classes=4, deep_supervision=deep_supervision, norm="batch")
    before = [buffer.clone() for buffer in network.buffers()]
    layers = list(network.decoder.seg_layers)
    assert output_layers(network, IMAGES) == (layers[::-1] if deep_supervision else layers[-1:])
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True)), "running statistics"
    assert not any(module._forward_hooks for module in network.modules())


def test_a_class_with_the_weights_of_another_has_its_logits_at_every_scale():
    network = small_network(classes=3, deep_supervision=True)
    before = [output.detach() for output in network(IMAGES)]
    copy_rows_(output_layers(network, IMAGES), 0, (2,))
    for output, former in zip(network(IMAGES), before, strict=True):
        torch.testing.assert_close(output[:, 2], output[:, 0])
        assert torch.equal(output[:, :2], former[:, :2]) and not torch.equal(former[:, 2], former[:, 0])


def test_the_papers_backbone_has_one():
    (layer,) = output_layers(UNetPlusPlus(1, 3, [4, 8, 8, 16, 16, 4], 2), IMAGES)
    assert isinstance(layer, nn.Conv2d) and layer.out_channels == 3


def test_an_output_that_no_convolution_made_is_refused():
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Softplus())
    with pytest.raises(InputError, match=r"network Sequential are not the results of convolutions, .*use one"):
        output_layers(network, IMAGES)
