"""Tangents from a replayed training pass equal those of forward-mode differentiation; the pass is the training pass."""

from __future__ import annotations

import pytest
import torch
from maths_support import as_list, relative_error, small_network
from torch import nn

from nnunetv2_mlbseg.meta_reweighting import logit_tangents
from nnunetv2_mlbseg.replayed_tangents import NotReplayable, logits_with_tangents


def _direction(network: nn.Module, leave_out: int | None = None) -> list[torch.Tensor | None]:
    torch.manual_seed(3)
    direction: list[torch.Tensor | None] = [torch.randn_like(p) for p in network.parameters()]
    if leave_out is not None:
        direction[leave_out::2] = [None] * len(direction[leave_out::2])
    return direction


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("leave_out", [None, 0, 1])
def test_tangents_are_those_of_forward_mode(kind, dims, deep_supervision, leave_out):
    network = small_network(kind, classes=3, deep_supervision=deep_supervision, dims=dims, dtype=torch.float64)
    images = torch.randn(2, 1, *[16] * dims, dtype=torch.float64)
    direction = _direction(network, leave_out)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    outputs, tangents = logits_with_tangents(network, images, direction)
    logits, expected = logit_tangents(network, images, direction)
    for found, wanted in zip(as_list(tangents), as_list(expected), strict=True):
        assert relative_error(found, wanted) < 1e-12 and not found.requires_grad
    assert all(torch.equal(z, wanted) for z, wanted in zip(as_list(outputs), as_list(logits), strict=True))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_outputs_train_as_the_networks_own_do():
    network = small_network(deep_supervision=True)
    images = torch.randn(2, 1, 16, 16)
    found, _ = logits_with_tangents(network, images, _direction(network))
    gradients = [
        torch.autograd.grad(sum(z.square().sum() for z in outputs), list(network.parameters()), allow_unused=True)
        for outputs in (found, network(images))
    ]
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(*gradients, strict=True))


class _Tanh(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images).tanh()


@pytest.mark.parametrize(("network", "what"), [(_Tanh(), "tanh"), (small_network(norm="batch"), "running statistics")])
def test_what_has_no_written_derivative_is_refused(network, what):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(NotReplayable, match=what):
        logits_with_tangents(network, torch.randn(2, 1, 16, 16), _direction(network))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_direction_of_another_length_is_refused():
    network = small_network()
    with pytest.raises(ValueError):
        logits_with_tangents(network, torch.randn(1, 1, 16, 16), _direction(network)[:-1])
