"""Dropout without a layer: whole channels at two places, inside the block alone."""

from __future__ import annotations

import pytest
import torch
from maths_support import small_network
from method_support import TanhNetwork

from nnunetv2_mlbseg.networks.dropout import channel_dropout
from nnunetv2_mlbseg.networks.features import features_of
from noise_synthesis.safe_io.errors import InputError

IMAGES = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def drawn(*values: float):
    """Numbers that say which channels stay: those of the first, of the second place."""
    left = list(values)

    def uniform(shape):
        return torch.full(tuple(shape), left.pop(0))

    return uniform


def features(network, uniform, probability=0.5):
    with channel_dropout(network, probability, uniform), features_of(network) as found:
        found.output = network(IMAGES)
    return found


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_whole_channels_of_bottleneck_and_last_stage_are_dropped_and_the_others_grow(kind):
    network = small_network(kind)
    with features_of(network) as before:
        network(IMAGES)
    draw = torch.Generator().manual_seed(1)
    found = features(network, lambda shape: torch.rand(tuple(shape), generator=draw))
    for skip, same in zip(found.skips[:-1], before.skips[:-1], strict=True):
        assert torch.equal(skip, same)
    factors = found.skips[-1] / before.skips[-1]
    assert set(factors.flatten(2).nanmean(2).flatten().round().tolist()) == {0.0, 2.0}
    dropped = (found.last == 0).flatten(2).all(2)
    assert dropped.any() and not dropped.all()


def test_all_kept_is_no_dropout_but_for_the_factor_and_all_dropped_leaves_the_bias():
    network = small_network()
    output = network(IMAGES)
    assert torch.equal(features(network, drawn(0.9, 0.9), probability=0.0).output, output)
    nothing = features(network, drawn(0.9, 0.1)).output
    bias = network.decoder.seg_layers[-1].bias
    torch.testing.assert_close(nothing, bias.view(1, -1, 1, 1).expand_as(nothing))
    assert torch.equal(network(IMAGES), output), "nothing is left behind"


def test_evaluation_mode_makes_no_difference_and_gradient_passes():
    network = small_network().eval()
    output = features(network, drawn(0.9, 0.9)).output
    assert not torch.equal(output, network(IMAGES))
    output.sum().backward()
    assert all(p.grad is not None for p in network.encoder.parameters())


def test_a_network_without_the_two_places_is_one_line():
    expected = pytest.raises(InputError, match="a TanhNetwork without encoder and decoder")
    with expected, channel_dropout(TanhNetwork(), 0.5, drawn()):
        pass
