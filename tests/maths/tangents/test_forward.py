"""Logits and tangents by forward mode: shapes, what they leave untouched, a network held elsewhere, the direction."""

from __future__ import annotations

import math

import pytest
import torch
from maths_support import NoHostReads, Problem, VirtualStep, clean_loss, relative_error, small_network
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.tangents.forward import displaced, logit_tangents, unit_direction


def test_tangents_of_a_zero_direction_are_zero() -> None:
    network = small_network(deep_supervision=True)
    logits, tangents = logit_tangents(network, torch.randn(2, 1, 16, 16), [None] * len(list(network.parameters())))
    assert [dz.shape for dz in tangents] == [z.shape for z in logits]
    assert all((dz == 0).all() for dz in tangents)
    assert not any(t.requires_grad for t in [*logits, *tangents]), "no graph, though no parameter was replaced"


def test_the_direction_must_have_one_entry_per_parameter() -> None:
    network = small_network()
    with pytest.raises(ValueError, match=r"direction has 1 entries, expected one per parameter: \d+"):
        logit_tangents(network, torch.randn(2, 1, 16, 16), [None])
    with pytest.raises(ValueError, match="direction has 1 entries"), displaced(network, [None], 0.1):
        pass


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_network_is_untouched(norm: str) -> None:
    problem = Problem(small_network(norm=norm, deep_supervision=True), 2, (16, 16))
    network, direction = problem.network, problem.direction()
    network.encoder.requires_grad_(False)
    before = {name: (p, p.data_ptr(), p.clone(), p.requires_grad) for name, p in network.named_parameters()}
    buffers = {name: (b, b.clone()) for name, b in network.named_buffers()}
    aliases = [n for n, _ in network.named_parameters(remove_duplicate=False)]

    logits, tangents = logit_tangents(network, problem.images, direction)

    assert not any(t.requires_grad for t in [*logits, *tangents])
    assert [n for n, _ in network.named_parameters(remove_duplicate=False)] == aliases
    assert len(list(network.named_parameters())) == len(before)
    for name, p in network.named_parameters():
        original, pointer, value, requires_grad = before[name]
        assert p is original and isinstance(p, nn.Parameter) and p.is_leaf
        assert p.data_ptr() == pointer and p.requires_grad == requires_grad and p.grad is None
        assert torch.equal(p, value)
    assert {name: id(b) for name, b in network.named_buffers()} == {name: id(b) for name, (b, _) in buffers.items()}
    assert all(torch.equal(b, value) for b, value in buffers.values())
    assert network.training
    assert all(m.track_running_stats for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_training_step_works_afterwards() -> None:
    problem = Problem(small_network(), 2, (16, 16))
    problem.by_tangents()
    clean_loss(problem.network(problem.clean_images), problem.clean).backward()
    gradients = [p.grad for p in problem.network.parameters() if p.grad is not None]
    assert gradients and all(g.abs().sum() > 0 for g in gradients[:2])


def test_the_network_is_whole_again_after_a_failure() -> None:
    problem = Problem(small_network(), 2, (16, 16))
    parameters = list(problem.network.parameters())
    with pytest.raises(RuntimeError):
        logit_tangents(problem.network, torch.randn(2, 5, 16, 16), problem.direction())
    assert all(p is q for p, q in zip(problem.network.parameters(), parameters, strict=True))


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrapped_networks_are_looked_through(wrap: type[nn.DataParallel]) -> None:
    problem = Problem(small_network(), 2, (16, 16))
    direction = problem.direction()
    expected = logit_tangents(problem.network, problem.images, direction)
    for ours, theirs in zip(logit_tangents(wrap(problem.network), problem.images, direction), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_autocast_outside_does_not_coarsen_the_tangents() -> None:
    problem = Problem(small_network(), 2, (16, 16))
    direction = problem.direction()
    expected = logit_tangents(problem.network, problem.images, direction)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = logit_tangents(problem.network, problem.images.bfloat16().float(), direction)
        half = logit_tangents(problem.network, problem.images.bfloat16(), direction)
    assert all(torch.equal(a, b) for a, b in zip(outputs, half, strict=True))
    assert all(relative_error(a, b) < 0.05 for a, b in zip(outputs, expected, strict=True))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        exact = logit_tangents(problem.network, problem.images, direction)
    assert all(torch.equal(a, b) for a, b in zip(exact, expected, strict=True))


def test_no_value_is_read_on_the_host() -> None:
    problem = Problem(small_network(norm="batch", deep_supervision=True), 2, (16, 16))
    direction = problem.direction()
    with NoHostReads() as watched:
        logit_tangents(problem.network, problem.images, unit_direction(direction))
        with displaced(problem.network, direction, 0.1):
            pass
    assert watched.operations


def test_displaced_moves_and_restores_bit_for_bit() -> None:
    network = small_network()
    parameters = list(network.parameters())
    direction: list[Tensor | None] = [torch.randn_like(p) for p in parameters]
    direction[0] = None
    before = [(p.data_ptr(), p.detach().clone()) for p in parameters]
    with pytest.raises(KeyError), displaced(network, direction, 0.25):
        for p, (_, value), v in zip(network.parameters(), before, direction, strict=True):
            torch.testing.assert_close(p.detach(), value if v is None else value - 0.25 * v)
        raise KeyError
    for p, q, (pointer, value) in zip(network.parameters(), parameters, before, strict=True):
        assert p is q and p.is_leaf and p.requires_grad
        assert p.data_ptr() == pointer and torch.equal(p, value)


def test_displaced_leaves_earlier_graphs_valid_and_gives_gradients_at_the_new_place() -> None:
    problem = Problem(small_network(dtype=torch.float64), 2, (16, 16))
    network = problem.network
    parameters = list(network.parameters())
    direction = problem.direction()
    early = clean_loss(network(problem.clean_images), problem.clean)
    with displaced(network, direction, 0.5):
        there = torch.autograd.grad(clean_loss(network(problem.clean_images), problem.clean), parameters[:1])[0]
    torch.testing.assert_close(torch.autograd.grad(early, parameters[:1])[0], direction[0])

    oracle = VirtualStep(network)
    moved = [p if v is None else p - 0.5 * v for p, v in zip(oracle.theta, direction, strict=True)]
    expected = torch.autograd.grad(clean_loss(oracle.outputs(problem.clean_images, moved), problem.clean), moved[:1])[0]
    torch.testing.assert_close(there, expected)
    assert relative_error(there, direction[0]) > 1e-3


def test_unit_direction_has_norm_one_and_keeps_ratios():
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])
    scaled = unit_direction([a, None, b])
    assert torch.allclose(scaled[0], torch.tensor([0.6, 0.0]))
    assert scaled[1] is None
    assert torch.allclose(scaled[2], torch.tensor([[0.8]]))


@pytest.mark.parametrize("bad", [0.0, math.inf, math.nan])
def test_a_gradient_without_a_direction_becomes_zero(bad):
    direction = unit_direction([torch.tensor([bad]), torch.tensor([0.0])])
    assert [d.tolist() for d in direction] == [[0.0], [0.0]]
