"""Tangents from a replayed training pass equal those of forward-mode differentiation; the pass is the training pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from maths_support import as_list, relative_error, small_network
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.tangents.derivatives import NotReplayable
from nnunetv2_mlbseg.maths.tangents.forward import logit_tangents
from nnunetv2_mlbseg.maths.tangents.replayed import logits_with_tangents


def _direction(network: nn.Module, leave_out: int | None = None) -> list[torch.Tensor | None]:
    torch.manual_seed(3)
    direction: list[torch.Tensor | None] = [torch.randn_like(p) for p in network.parameters()]
    if leave_out is not None:
        direction[leave_out::2] = [None] * len(direction[leave_out::2])
    return direction


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize(("dims", "flat"), [(2, False), (3, False), (3, True)])
@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("leave_out", [None, 0, 1])
def test_tangents_are_those_of_forward_mode(kind, dims, flat, deep_supervision, leave_out):
    options = {"deep_supervision": deep_supervision, "dims": dims, "flat": flat, "dtype": torch.float64}
    network = small_network(kind, classes=3, **options)
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


class _Between(nn.Module):
    """Something between two convolutions; it gets two channels, or four, and has one or two."""

    def __init__(self, between: Callable[[Tensor], Tensor], channels: int = 2, left: int = 2) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, channels, 3), nn.Conv2d(left, 2, 1)
        self.between = between

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.between(self.first(images)))


class _Swish(torch.autograd.Function):
    """Its work is seen by no function mode."""

    @staticmethod
    def forward(ctx, values):
        with torch._C.DisableTorchFunction():
            return values * values.sigmoid()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class _Unsteady(nn.Module):
    """Not the same operations in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.passes = nn.Conv2d(1, 2, 3), 0

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        values = self.layer(images)
        return F.relu(values) if self.passes % 2 else values + values


def _halves_added(values: Tensor) -> Tensor:
    first, second = values.chunk(2, 1)
    return first + second


def _overwritten(values: Tensor) -> Tensor:
    """The old name goes on being used after both ways of overwriting."""
    doubled = values + values
    F.leaky_relu(values, 0.2, inplace=True)
    doubled.add_(values)
    return torch.cat((values, doubled), 1)


def _sum_after_leaky_relu(values: Tensor) -> Tensor:
    """The result is overwritten, so it no longer says on which side of zero the input was."""
    found = F.leaky_relu(values, 0.2)
    found += values + values
    return found


KERNEL, STATISTICS = torch.ones(2, 2, 1, 1), (torch.zeros(2), torch.ones(2))
REFUSED = {
    "tanh": lambda y: y.tanh(),
    "chunk": _halves_added,
    "max": lambda y: y.max(1, keepdim=True).values,
    "alpha": lambda y: torch.add(y, y, alpha=3),
    "a sum of other things": lambda y: y + 1.0,
    "a sum of other": lambda y: 1.0 + y,
    "two tensors of one shape": lambda y: y + F.avg_pool2d(y, y.shape[2:]),
    "conv2d: .*images": lambda y: F.conv2d(input=y, weight=KERNEL),
    "cat: .*axis": lambda y: torch.cat((y,), axis=1),
    "none of the recorded": lambda y: _Swish.apply(y),
    "instance_norm": lambda y: F.instance_norm(y, *STATISTICS, use_input_stats=False),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_written_derivative_is_refused(what):
    left = {"max": 1}.get(what, 2)
    network = _Between(REFUSED[what], channels=4 if what == "chunk" else 2, left=left)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randn(2, 1, 16, 16)
    with pytest.raises(NotReplayable, match=what):
        logits_with_tangents(network, images, _direction(network))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("network", "what"),
    [
        (small_network(norm="batch"), "running statistics"),
        (_Unsteady(), "the same twice"),
        (nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 2, 3)), "overwritten"),
    ],
)
def test_a_network_with_a_state_of_its_own_or_that_overwrites_its_input_is_refused(network, what):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(NotReplayable, match=what):
        logits_with_tangents(network, torch.randn(2, 1, 16, 16), _direction(network))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("between", "left"), [(_overwritten, 4), (_sum_after_leaky_relu, 2)])
def test_values_that_are_overwritten_have_the_right_tangents(between, left):
    torch.manual_seed(0)
    network = _Between(between, left=left).double()
    images = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    direction = _direction(network)
    outputs, found = logits_with_tangents(network, images, direction)
    _, wanted = logit_tangents(network, images, direction)
    assert relative_error(found, wanted) < 1e-12
    outputs.square().sum().backward()  # torch complains where a value that it needs was overwritten


def test_a_direction_of_another_length_is_refused():
    network = small_network()
    with pytest.raises(ValueError):
        logits_with_tangents(network, torch.randn(1, 1, 16, 16), _direction(network)[:-1])
