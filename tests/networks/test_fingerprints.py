"""Summaries of weights change exactly when the weights do."""

from __future__ import annotations

import copy

import torch
from torch import nn

from nnunetv2_mlbseg.networks.fingerprints import fingerprint, weight_sums


def test_equal_networks_share_a_fingerprint_and_any_change_breaks_it():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    other = copy.deepcopy(network)
    assert fingerprint(network) == fingerprint(other)
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1e-6
    assert fingerprint(network) != fingerprint(other)
    buffers = copy.deepcopy(network)
    buffers[1].running_mean += 1
    assert fingerprint(network) != fingerprint(buffers)


def test_sums_name_the_tensor_that_changed():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = weight_sums(network)
    with torch.no_grad():
        network[1].bias += 1
    assert [name for name, value in weight_sums(network).items() if value != before[name]] == ["1.bias"]
