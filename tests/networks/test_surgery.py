"""Swapping parameters of networks whose modules are known by several names; holding statistics still."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from maths_support import small_network
from torch import nn

from nnunetv2_mlbseg.networks.surgery import parameters_replaced, plain_network, tangent_mode


def test_wrappers_are_removed() -> None:
    network = small_network()
    assert plain_network(network) is network
    assert plain_network(torch.compile(network)) is network
    assert plain_network(nn.DataParallel(torch.compile(nn.DataParallel(network)))) is network


def test_distributed_wrappers_are_removed(tmp_path: Path) -> None:
    network = small_network()
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    try:
        assert plain_network(nn.parallel.DistributedDataParallel(torch.compile(network))) is network
        assert plain_network(torch.compile(nn.parallel.DistributedDataParallel(network))) is network
    finally:
        torch.distributed.destroy_process_group()


def test_a_replaced_parameter_is_replaced_under_all_its_names() -> None:
    network = small_network()
    names = [n for n, _ in network.named_parameters(remove_duplicate=False)]
    assert len(names) > len(list(network.parameters())), "nnU-Net's networks share modules"
    replacements = {id(p): torch.zeros_like(p) for p in network.parameters()}
    with parameters_replaced(network, replacements):
        values = [dict(m._parameters) for m in network.modules()]
        assert all((v == 0).all() for d in values for v in d.values() if v is not None)
        assert (network(torch.randn(1, 1, 16, 16)) == 0).all()
    assert (network(torch.randn(1, 1, 16, 16)) != 0).any()
    assert [n for n, _ in network.named_parameters(remove_duplicate=False)] == names


def test_a_parameter_shared_by_two_modules_is_replaced_in_both() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    network = nn.Sequential(first, second)
    weight, bias = first.weight, second.bias
    with parameters_replaced(network, {id(weight): torch.eye(2)}):
        assert torch.equal(first.weight, torch.eye(2)) and torch.equal(second.weight, torch.eye(2))
        assert second.bias is bias
    assert first.weight is weight and second.weight is weight


def test_a_failure_inside_restores_the_parameters() -> None:
    network = small_network()
    before = list(network.parameters())
    with pytest.raises(KeyError), parameters_replaced(network, {id(p): p.detach() for p in before}):
        raise KeyError
    assert all(p is q for p, q in zip(network.parameters(), before, strict=True))


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3), nn.InstanceNorm2d(3, affine=True, track_running_stats=True)])
def test_statistics_are_held_and_the_batch_still_normalises(norm: nn.Module) -> None:
    images = 5 + 2 * torch.randn(4, 3, 8, 8)
    before = {name: (buffer, buffer.clone()) for name, buffer in norm.named_buffers()}
    assert before
    with tangent_mode(norm):
        inside = norm(images)
    assert all(norm.get_buffer(name) is b and torch.equal(b, value) for name, (b, value) in before.items())
    torch.testing.assert_close(inside, norm(images))
    assert not torch.equal(norm.get_buffer("running_mean"), before["running_mean"][1])


def test_statistics_in_eval_mode_are_used() -> None:
    norm = nn.BatchNorm2d(3).eval()
    images = 5 + 2 * torch.randn(4, 3, 8, 8)
    with tangent_mode(norm):
        torch.testing.assert_close(norm(images), images, rtol=1e-4, atol=1e-4)
