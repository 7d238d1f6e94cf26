"""Mutual information of clusters in a step: which maps are compared, and what stays as it is under a mirrored view."""

from __future__ import annotations

import pytest
import torch
from comparison_support import COMPARED, pair
from maths_support import small_network
from method_support import CPU

from nnunetv2_mlbseg.maths.mutual_information import information_loss
from nnunetv2_mlbseg.networks.levels import convolution_like, widths
from nnunetv2_mlbseg.training.batch import Batch


def test_heads_fit_the_maps_at_their_places():
    learning, images = COMPARED["DiscreteMI"].begin(), Batch.of(pair(), CPU).imperfect.images
    _, found = learning.passes.features(images)
    maps = {"bottleneck": found.skips[-1], "coarse": found.decoded[-2], "fine": found.decoded[-1]}
    assert [one.shape[2] for one in maps.values()] == [4, 8, 16]
    for name, one in maps.items():
        clusters = learning.method.assigned(name, one)
        assert clusters.shape == (2, 5, 20, *one.shape[2:])
        torch.testing.assert_close(clusters.sum(dim=2), torch.ones(2, 5, *one.shape[2:]))


def test_maps_that_a_mirrored_view_keeps_share_all_they_have():
    """Maps of a view that are the mirrored maps of the image: what both share is what one shares with itself."""
    learning = COMPARED["DiscreteMI"].begin()
    method = learning.method
    maps = torch.randn(3, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    views = method.drawn(maps)
    found = method.information("coarse", views.apply(maps), views)
    clusters = method.assigned("coarse", maps)
    torch.testing.assert_close(found, information_loss(clusters, clusters, 1))
    assert found.item() < -0.05  # one of nine displacements finds something in white noise
    torch.testing.assert_close(method.apart(views.apply(maps), views), torch.zeros(()), atol=1e-10, rtol=0)


def test_the_distance_between_views_by_hand():
    """Certain and opposite everywhere: squared distance 2 over two classes is 1."""
    method = COMPARED["DiscreteMI"].begin().method
    certain = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(2, 2, 4, 4)
    assert method.apart(torch.cat([certain, 1 - certain]), method.drawn(certain)).item() == pytest.approx(1)


@pytest.mark.parametrize("dims", [2, 3])
def test_widths_of_a_network_by_resolution(dims):
    network = small_network(dims=dims)
    assert widths(network) == [4, 6, 8]
    assert convolution_like(network, 4, 7).weight.shape == (7, 4, *[1] * dims)
