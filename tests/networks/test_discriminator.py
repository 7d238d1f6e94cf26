"""The critic: patches of any size, two and three dimensions, dropout that only its generator draws."""

from __future__ import annotations

import pytest
import torch

from nnunetv2_mlbseg.networks.discriminator import Critic
from nnunetv2_mlbseg.networks.dropout import Uniform, drop_channels


def _uniform(seed: int) -> Uniform:
    draw = torch.Generator().manual_seed(seed)
    return lambda shape: torch.rand(tuple(shape), generator=draw)


@pytest.mark.parametrize("size", [(64, 48), (12, 17), (1, 3), (8, 16, 5)])
def test_patches_of_any_size(size: tuple[int, ...]) -> None:
    critic = Critic(maps=3, channels=2, dims=len(size))
    maps = torch.rand(4, 3, *size, requires_grad=True)
    logits = critic(maps, torch.randn(4, 2, *size), _uniform(0))
    assert logits.shape == (4, 2)
    logits[0].sum().backward()
    assert maps.grad is not None and maps.grad[0].abs().sum() > 0 and maps.grad[1:].abs().sum() == 0


def test_dropout_is_drawn_from_the_generator_alone() -> None:
    critic, maps, images = Critic(2, 1, 2), torch.rand(2, 2, 32, 32), torch.randn(2, 1, 32, 32)
    before = torch.get_rng_state()
    first, second = (critic(maps, images, _uniform(seed)) for seed in (1, 1))
    other = critic(maps, images, _uniform(2))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_channels_are_dropped_whole_and_the_others_scaled_up() -> None:
    features = torch.ones(40, 50, 3, 2, requires_grad=True)
    found = drop_channels(features, 0.25, _uniform(3))
    values = found.detach().flatten(2)
    assert torch.equal(values.amin(dim=2), values.amax(dim=2))
    assert values.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert 0.22 < float((values == 0).float().mean()) < 0.28
    found.sum().backward()
    assert features.grad is not None and torch.equal(features.grad, found.detach())
