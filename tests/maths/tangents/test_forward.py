"""Eq. 4-8: the one-pass weight maps against the second-order virtual step, and what they leave untouched."""

from __future__ import annotations

import math

import pytest
import torch
from maths_support import NoHostReads, VirtualStep, as_list, clean_loss, relative_error, small_network
from torch import Tensor, nn

from nnunetv2_mlbseg.maths.losses import IGNORE, resize_labels
from nnunetv2_mlbseg.maths.tangents.forward import displaced, label_weights, logit_tangents, normalize_weights
from nnunetv2_mlbseg.networks.unetplusplus import UNetPlusPlus

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


class Problem:
    """A network with an imperfect batch (two label sets, some pixels ignored) and a clean batch."""

    def __init__(self, network: nn.Module, classes: int, size: tuple[int, ...]) -> None:
        dtype = next(network.parameters()).dtype
        draw = torch.Generator().manual_seed(3)
        self.network = network
        self.images, self.clean_images = (torch.randn(2, 1, *size, generator=draw).to(dtype) for _ in range(2))
        imperfect, pseudo, clean = (torch.randint(classes, (2, *size), generator=draw) for _ in range(3))
        imperfect[torch.rand(imperfect.shape, generator=draw) < 0.3] = IGNORE
        with torch.no_grad():
            self.sizes = [z.shape[2:] for z in as_list(network(self.images))]
        self.imperfect, self.pseudo, self.clean = (
            [resize_labels(labels, size) for size in self.sizes] for labels in (imperfect, pseudo, clean)
        )

    def direction(self) -> list[Tensor | None]:
        loss = clean_loss(self.network(self.clean_images), self.clean)
        return list(torch.autograd.grad(loss, list(self.network.parameters()), allow_unused=True))

    def by_tangents(self) -> list[list[Tensor]]:
        logits, tangents = (as_list(o) for o in logit_tangents(self.network, self.images, self.direction()))
        return [
            [label_weights(z, dz, y) for z, dz, y in zip(logits, tangents, labels, strict=True)]
            for labels in (self.imperfect, self.pseudo)
        ]

    def by_virtual_step(self) -> list[list[Tensor]]:
        label_sets = [self.imperfect, self.pseudo]
        return VirtualStep(self.network).weights(self.images, label_sets, self.clean_images, self.clean)


def assert_exact(problem: Problem) -> None:
    dtype = problem.images.dtype
    for ours, expected in zip(problem.by_tangents(), problem.by_virtual_step(), strict=True):
        for weights, oracle, size in zip(ours, expected, problem.sizes, strict=True):
            assert weights.dtype == dtype
            assert weights.shape == oracle.shape == (2, *size)
            assert (oracle > 0).any() and (oracle < 0).any()
            assert relative_error(weights, oracle) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize(
    ("kind", "norm"), [("plain", "instance"), ("residual", "instance"), ("plain", "batch"), ("residual", "batch")]
)
def test_weights_equal_the_second_order_virtual_step(
    kind: str, norm: str, deep_supervision: bool, classes: int, dtype: torch.dtype
) -> None:
    network = small_network(kind, classes=classes, deep_supervision=deep_supervision, norm=norm, dtype=dtype)
    assert_exact(Problem(network, classes, (16, 24)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(32, 48), (33, 44)], ids=["even", "repeats the last row on the way up"])
def test_weights_equal_the_virtual_step_on_unetplusplus(size: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    assert_exact(Problem(UNetPlusPlus(1, 3, (4, 6, 8)).to(dtype), 3, size))


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_equal_the_virtual_step_in_3d(kind: str, dtype: torch.dtype) -> None:
    network = small_network(kind, classes=3, deep_supervision=True, dims=3, dtype=dtype)
    assert_exact(Problem(network, 3, (8, 8, 12)))


def test_weights_in_eval_mode_use_the_running_statistics_of_batch_norm() -> None:
    network = small_network(norm="batch", dtype=torch.float64)
    network(torch.randn(4, 1, 16, 16, dtype=torch.float64))
    assert_exact(Problem(network.eval(), 2, (16, 16)))


def test_ignored_pixels_weigh_nothing() -> None:
    problem = Problem(small_network(), 2, (16, 16))
    imperfect, pseudo = problem.by_tangents()
    ignored = problem.imperfect[0] < 0
    assert ignored.any()
    assert (imperfect[0][ignored] == 0).all()
    assert (pseudo[0][ignored] != 0).all()


def test_label_weights_by_hand() -> None:
    """Two classes, softmax (1/4, 3/4), tangents (8, 4): mean 5; label 0: 5 - 8 = -3, label 1: 5 - 4 = 1."""
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
    tangents = torch.tensor([8.0, 4.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 4)
    labels = torch.tensor([[[0, 1, IGNORE, -9]]])
    torch.testing.assert_close(label_weights(logits, tangents, labels), torch.tensor([[[-3.0, 1.0, 0.0, 0.0]]]))


def test_label_weights_of_half_precision_are_computed_in_float32() -> None:
    logits, tangents = torch.randn(2, 1, 3, 5, 5).half()
    labels = torch.randint(3, (1, 5, 5))
    weights = label_weights(logits, tangents, labels)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, label_weights(logits.float(), tangents.float(), labels))


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
        logits, tangents = logit_tangents(problem.network, problem.images, direction)
        imperfect = label_weights(logits[0], tangents[0], problem.imperfect[0])
        pseudo = label_weights(logits[0], tangents[0], problem.pseudo[0])
        for how in ("sum", "joint", "accepted"):
            normalize_weights(imperfect, pseudo, how)
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


def maps(*rows: list[float]) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(row).reshape(2, 1, -1) for row in rows)


def test_normalization_by_hand() -> None:
    """Imperfect: 1 and 3 remain, sum 4. Pseudo: 4 and 12 remain, sum 16. Together 20."""
    imperfect, pseudo = maps([1.0, -5.0, 0.0, 3.0], [4.0, 12.0, -1.0, 0.0])
    expected = {
        "sum": maps([0.25, 0.0, 0.0, 0.75], [0.25, 0.75, 0.0, 0.0]),
        "joint": maps([0.05, 0.0, 0.0, 0.15], [0.2, 0.6, 0.0, 0.0]),
        "accepted": maps([0.5, 0.0, 0.0, 0.5], [0.5, 0.5, 0.0, 0.0]),
    }
    for how, (wn, wp) in expected.items():
        ours = normalize_weights(imperfect, pseudo, how)
        torch.testing.assert_close(ours[0], wn)
        torch.testing.assert_close(ours[1], wp)


def test_the_epsilon_of_equation_8_is_in_the_denominator() -> None:
    imperfect, pseudo = maps([1.0, 0.0], [2.0, 0.0])
    wn, wp = normalize_weights(imperfect, pseudo, "sum", eps=1.0)
    assert wn.sum() == pytest.approx(1 / 2) and wp.sum() == pytest.approx(2 / 3)
    wn, wp = normalize_weights(imperfect, pseudo, "joint", eps=1.0)
    assert (wn.sum() + wp.sum()).item() == pytest.approx(3 / 4)


@pytest.mark.parametrize("how", ["sum", "joint", "accepted"])
def test_maps_without_a_positive_weight_stay_zero(how: str) -> None:
    wn, wp = normalize_weights(*maps([-1.0, 0.0], [0.0, 0.0]), how)
    assert (wn == 0).all() and (wp == 0).all()


@pytest.mark.parametrize("how", ["sum", "joint", "accepted"])
def test_weights_that_are_not_finite_count_as_zero(how: str) -> None:
    bad = [math.nan, math.inf, -math.inf, 2.0]
    wn, wp = normalize_weights(*maps(bad, [1.0, 1.0, 0.0, 0.0]), how)
    assert torch.isfinite(wn).all() and torch.isfinite(wp).all()
    assert (wn.flatten()[:3] == 0).all() and wn.flatten()[3] > 0


def test_half_precision_weights_do_not_overflow_their_sum() -> None:
    large = torch.full((1, 64, 64), 1000.0, dtype=torch.float16)
    wn, _ = normalize_weights(large, large, "sum")
    assert wn.sum().item() == pytest.approx(1.0, rel=1e-5)


def test_normalization_does_not_depend_on_the_step_sizes() -> None:
    raw = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    for how in ("sum", "joint", "accepted"):
        once = normalize_weights(raw[0], raw[1], how, eps=0.0)
        scaled = normalize_weights(0.005 * 7 * raw[0], 0.005 * 7 * raw[1], how, eps=0.0)
        torch.testing.assert_close(once, scaled)


def test_an_unknown_normalization_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown normalization 'mean', expected one of sum, joint, accepted"):
        normalize_weights(*maps([1.0, 1.0], [1.0, 1.0]), "mean")
